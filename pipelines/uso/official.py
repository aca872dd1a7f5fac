"""Read and write USO's released files, and LoRAs as diffusers has them.

    FOLDER/dit_lora.safetensors    the LoRA under black-forest-labs' block names, q, k and v fused, no alpha
    FOLDER/projector.safetensors   the style projector, `feature_embedder.*`

The format is that of bytedance-research/USO `uso_flux_v1.0` (code: bytedance/USO@b6784d7); ComfyUI reads it too. It has
one A for q, k and v together, and so have the LoRAs that `add_lora` makes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from statistics import mode
from typing import Any

import safetensors.torch
import torch
from diffusers import FluxPipeline, FluxTransformer2DModel
from peft import LoraConfig, get_peft_model_state_dict
from safetensors import SafetensorError
from torch import Tensor

from curate.errors import ModelError, StoreError
from curate.files import write_advice, write_atomic
from pipelines.uso.bfl_layout import LAYOUT, groups_of, lora_from_official, lora_to_official, refuse_names
from pipelines.uso.projector import StyleProjector

LORA_FILE = "dit_lora.safetensors"
PROJECTOR_FILE = "projector.safetensors"
PROJECTOR_PREFIX = "feature_embedder."
ADAPTER = "default"  # peft's own default name

Shapes = dict[str, tuple[int, ...]]


def lora_targets() -> str:
    """A regular expression for peft's `target_modules`: q, k, v and output projections of all blocks and streams."""
    blocks = []
    for _, ours, layers in LAYOUT:
        names = "|".join(re.escape(module) for modules in layers.values() for module in modules)
        blocks.append(rf"{ours}\.\d+\.({names})")
    return "|".join(blocks)


def add_lora(transformer: FluxTransformer2DModel, *, rank: int, alpha: int | None = None) -> None:
    """Put a trainable LoRA that changes nothing yet on `lora_targets`; `alpha` None means `rank`, i.e. scale 1.

    A is normal with deviation 1/rank and B is zero, as in XLabs' and UNO's code that USO builds on. As there, q, k
    and v of a stream have one A: the same `Parameter` in three layers, so that a file has the rank that was trained.
    The transformer's own weights are frozen. Raises ModelError if it has this adapter already.
    """
    if ADAPTER in getattr(transformer, "peft_config", {}):
        raise ModelError(f"the transformer has a LoRA named {ADAPTER!r} already; call `delete_adapters` on it first")
    scaled = rank if alpha is None else alpha
    transformer.add_adapter(
        LoraConfig(r=rank, lora_alpha=scaled, init_lora_weights="gaussian", target_modules=lora_targets()),
        adapter_name=ADAPTER,
    )
    for _, names in _groups(transformer):
        first, *others = (transformer.get_submodule(f"{name}.lora_A.{ADAPTER}") for name in names)
        for other in others:
            other.weight = first.weight


def load_official(
    source: Path | tuple[Path, Path],
    *,
    transformer: FluxTransformer2DModel,
    projector: StyleProjector,
    lora_dtype: torch.dtype | None = None,
) -> None:
    """Add the LoRA of `source` to `transformer`, at the file's rank and scale 1, and load `projector` from it.

    `source` is a folder with both files, or (LoRA file, projector file). Any float dtype is cast to the modules', that
    of the LoRA to `lora_dtype` if that is given.
    Raises ModelError, with both models as they were, for a file that is missing, unreadable, partial, of another
    depth or size, or for a transformer that has a LoRA already.
    """
    lora_file, projector_file = source if isinstance(source, tuple) else (source / LORA_FILE, source / PROJECTOR_FILE)
    if ADAPTER in getattr(transformer, "peft_config", {}):
        raise ModelError(f"{lora_file}: the transformer has a LoRA already; call `delete_adapters` on it first")
    lora, styles = _read(lora_file), _read(projector_file)
    _refuse(lora, _lora_shapes(transformer, rank := _rank(lora)), source=lora_file)
    _refuse(styles, _projector_shapes(projector, source=projector_file), source=projector_file)
    add_lora(transformer, rank=rank)
    if lora_dtype is not None:
        for name, parameter in transformer.named_parameters():
            if "lora_" in name:
                parameter.data = parameter.data.to(lora_dtype)
    with torch.no_grad():
        for name, value in lora_from_official(lora).items():
            module, part = name.removesuffix(".weight").rsplit(".", 1)
            transformer.get_submodule(f"{module}.{part}.{ADAPTER}").weight.copy_(value)
    projector.load_state_dict({name.removeprefix(PROJECTOR_PREFIX): value for name, value in styles.items()})


def save_official(folder: Path, *, transformer: FluxTransformer2DModel, projector: StyleProjector) -> None:
    """Write both files, in the modules' dtypes, peft's scale folded into `up`. The LoRA is written last.

    After a crash the folder lacks the LoRA, or has both files of one model. Raises ModelError if the transformer has
    no LoRA or one on other modules than `lora_targets`, or the projector is not hierarchical; StoreError if the
    folder cannot be written.
    """
    lora = lora_to_official(_scaled_lora(transformer))
    wanted = {f"{prefix}.{part}.weight" for prefix, _ in _groups(transformer) for part in ("down", "up")}
    refuse_names(lora.keys(), wanted, source="the transformer's LoRA")
    _projector_shapes(projector, source=folder / PROJECTOR_FILE)
    styles = {f"{PROJECTOR_PREFIX}{name}": value for name, value in projector.state_dict().items()}
    _make_folder(folder, without=LORA_FILE)
    write_atomic(folder / PROJECTOR_FILE, _bytes(styles))
    write_atomic(folder / LORA_FILE, _bytes(lora))


def save_peft_lora(folder: Path, *, transformer: FluxTransformer2DModel) -> None:
    """Write `pytorch_lora_weights.safetensors` as `FluxPipeline.load_lora_weights` reads it, at the LoRA's own rank.

    peft's scale is folded into B, since readers of files without metadata assume 1. Raises ModelError if the
    transformer has no LoRA, StoreError if the folder cannot be written.
    """
    lora = _scaled_lora(transformer)
    _make_folder(folder)  # where a file stands in its place, diffusers only logs that and returns
    FluxPipeline.save_lora_weights(
        folder,
        transformer_lora_layers=lora,
        save_function=lambda state, path: write_atomic(Path(path), _bytes(state)),
    )


def _scaled_lora(transformer: FluxTransformer2DModel) -> dict[str, Tensor]:
    """The adapter's tensors under peft's names, with lora_alpha / r (or what peft has for it) folded into each B."""
    if ADAPTER not in getattr(transformer, "peft_config", {}):
        raise ModelError(f"the transformer has no LoRA named {ADAPTER!r}; `add_lora` makes one")
    state = get_peft_model_state_dict(transformer, adapter_name=ADAPTER)
    scaled = {}
    for name, value in state.items():
        module, is_up, _ = name.partition(".lora_B.")
        scale = transformer.get_submodule(module).scaling[ADAPTER] if is_up else 1.0
        scaled[name] = value.detach() * scale
    return scaled


def _groups(transformer: FluxTransformer2DModel) -> list[tuple[str, tuple[str, ...]]]:
    return groups_of(name for name, _ in transformer.named_modules())


def _lora_shapes(transformer: FluxTransformer2DModel, rank: int) -> Shapes:
    """What `LORA_FILE` must hold for this transformer."""
    shapes: Shapes = {}
    for prefix, names in _groups(transformer):
        modules: list[Any] = [transformer.get_submodule(name) for name in names]
        shapes[f"{prefix}.down.weight"] = (rank, modules[0].in_features)
        shapes[f"{prefix}.up.weight"] = (sum(module.out_features for module in modules), rank)
    return shapes


def _rank(lora: Mapping[str, Tensor]) -> int:
    """The rank that most layers of a file have, so that the odd ones are told as such; 1 where there are no layers."""
    ranks = [len(value) for name, value in lora.items() if name.endswith(".down.weight") and value.ndim == 2]
    return max(1, mode(ranks)) if ranks else 1


def _projector_shapes(projector: StyleProjector, *, source: Path) -> Shapes:
    """What `PROJECTOR_FILE` must hold for this projector."""
    if projector.config.kind != "hierarchical":
        raise ModelError(f"{source}: the released format has only the hierarchical projector, and this model's is of "
                         f"the kind {projector.config.kind}")
    return {f"{PROJECTOR_PREFIX}{name}": tuple(value.shape) for name, value in projector.state_dict().items()}


def _refuse(state: Mapping[str, Tensor], shapes: Shapes, *, source: Path) -> None:
    broken = sorted(name for name, value in state.items() if not bool(torch.isfinite(value.float()).all()))
    if broken:
        raise ModelError(f"{source}: {broken[0]} holds what is no number, in {len(broken)} of {len(state)} tensors")
    faults = [
        f"{name} is {tuple(value.shape)} of {value.dtype}, not {shapes[name]} of a float type"
        for name, value in state.items()
        if name in shapes and (tuple(value.shape) != shapes[name] or not value.is_floating_point())
    ]
    refuse_names(state.keys(), shapes.keys(), source=str(source), faults=faults)


def _read(file: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(file)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{file}: cannot be read as a safetensors file: {error}") from error


def _bytes(state: Mapping[str, Tensor]) -> bytes:
    return safetensors.torch.save({k: v.contiguous() for k, v in state.items()}, metadata={"format": "pt"})


def _make_folder(folder: Path, *, without: str | None = None) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if without is not None:
            (folder / without).unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"{folder}: cannot be written: {write_advice(error)}") from error
