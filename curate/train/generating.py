"""curate generate: pictures from a prompt, content and style images; the first thing one does after training."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

import torch
from PIL import Image
from transformers.utils import logging

from curate.config import load_yaml, parse
from curate.errors import ConfigError, ImageError, ModelError, StoreError
from curate.files import is_there, write_atomic
from curate.images import decode, encode
from pipelines.data.transforms import Size, bucket_of
from pipelines.diffusers_expert import DiffusersExpert
from pipelines.editors.loading import index_of, load_pipeline, local_folder, place_of
from pipelines.editors.options import Weights
from pipelines.editors.presets import preset_names
from pipelines.uso.official import LORA_FILE, PROJECTOR_FILE
from pipelines.uso.pipeline import UsoPipeline
from pipelines.uso.tokens import PATCH

STYLE_PARTS: Final = ("vision_encoder", "vision_processor", "projector")


def generate(
    model: str,
    out: Path,
    *,
    uso: Path | None,
    prompt: str,
    content: Sequence[Path],
    style: Sequence[Path],
    seeds: Sequence[int],
    steps: int | None,
    guidance: float | None,
    size: str | None,
) -> list[Path]:
    """Write one PNG for each seed, `out/seed-N.png`, over one that is there, and give back the paths.

    model            a trained `model` folder, zoo:NAME or hub id; or a preset's name or an expert's YAML, of which all
                     counts that loads the pipeline, and `steps` and `guidance`
    uso              folder with the released files (dit_lora.safetensors, projector.safetensors), put on the base, in
                     place of those that an expert names
    steps, guidance  None: the expert's, else the pipeline's own
    size             "WxH" in px; None: the shape of the first content image at the model's own area, without one its
                     own square

    Weights are bfloat16 on a GPU, as FLUX.1 dev's are published, and float32 on a CPU. Raises ConfigError for a size
    that the model cannot draw, a seed out of range, an image that cannot be read and an expert that is none; ModelError
    for a model that cannot be loaded, or not take what it is given, or draws what is no picture; StoreError where `out`
    cannot be written.
    """
    _check_place(out)
    if wrong := [seed for seed in seeds if not -(2**63) <= seed < 2**64]:
        raise ConfigError(f"--seed {wrong[0]}: a seed has 64 bits")
    asked_size = None if size is None else _parsed(size)
    contents, styles = ([_open(path) for path in paths] for paths in (content, style))
    expert = _expert(model)
    pipeline = _load(expert, uso, styled=bool(styles))
    height, width = _size(pipeline, asked_size, contents)
    asked = {
        "num_inference_steps": expert.steps if steps is None else steps,
        "guidance_scale": expert.guidance if guidance is None else guidance,
    }
    options: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    written = []
    for seed in dict.fromkeys(seeds):
        generator = [torch.Generator().manual_seed(seed)]
        try:
            (picture,) = pipeline(
                prompt, [contents], [styles], height=height, width=width, generator=generator, **options
            ).images
        except (ValueError, ImageError) as error:
            raise ModelError(f"{model}: cannot draw this: {error}") from error
        path = out / f"seed-{seed}.png"
        write_atomic(path, encode(picture))
        written.append(path)
    return written


def dtype_on(device: str) -> Literal["float32", "bfloat16"]:
    """Of all weights: FLUX.1 dev is 24 GB in bfloat16; CPUs are slow at it."""
    return "bfloat16" if device == "cuda" else "float32"


def _expert(model: str) -> DiffusersExpert:
    """The parts that `model` stands for. A folder that holds a pipeline goes before a preset of its name."""
    if model.endswith((".yaml", ".yml")):
        values, lines = load_yaml(Path(model))
        return parse(DiffusersExpert, values, file=model, lines=lines)
    if model in preset_names() and not Path(model, UsoPipeline.config_name).is_file():
        return parse(DiffusersExpert, {"preset": model})
    return DiffusersExpert(model=model, pipeline=UsoPipeline.__name__)


def _load(expert: DiffusersExpert, uso: Path | None, *, styled: bool) -> UsoPipeline:
    """The pipeline, ready to draw, with released files if there are any. What can be refused without weights is."""
    released = uso or expert.uso
    _check_parts(expert, released=released is not None, styled=styled)
    logging.disable_progress_bar()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    given = {"dtype": dtype_on(device), "uso": None if released is None else _on_disk(released)}
    pipeline: UsoPipeline = load_pipeline(expert.model_copy(update=given), device)
    return pipeline


def _check_parts(expert: DiffusersExpert, *, released: bool, styled: bool) -> None:
    """ModelError where model_index.json and the config lack a part; a new one counts if released files will fill it."""
    try:
        index = index_of(place_of(expert.model), expert.revision)
    except (OSError, ValueError) as error:
        raise ModelError(f"{expert.model}: not a pipeline that can be loaded: {_one_line(error)}") from error
    if (name := expert.pipeline or index.get("_class_name")) != UsoPipeline.__name__:
        raise ModelError(f"{expert.model}: a {name}, and only a {UsoPipeline.__name__} can draw here; `curate generate "
                         f"uso` is one, or a config with pipeline: {UsoPipeline.__name__}")
    there = {name for name, part in index.items() if isinstance(part, list) and all(part)}
    there |= {name for name, part in expert.components.items() if part and (part.weights or released)}
    needs: dict[str, tuple[str, ...]] = {}
    if styled and {**index, **expert.settings}.get("style_encoding", "vision") == "vision":
        needs["style images"] = STYLE_PARTS
    if released:
        needs["USO's released files"] = ("projector",)
    for what, parts in needs.items():
        if lacking := [part for part in parts if part not in there]:
            raise ModelError(f"{expert.model}: has no {', '.join(lacking)} to load, which {what} need; take them from "
                             f"the preset: `curate generate uso`, or a YAML with preset: uso, model: {expert.model}")


def _on_disk(released: Path | Weights) -> Weights:
    """The folder of the released files, fetched if it lies on the hub. ModelError where one of the two is not there."""
    folder = released if isinstance(released, Path) else _fetched(released)
    if lacking := [name for name in (LORA_FILE, PROJECTOR_FILE) if not (folder / name).is_file()]:
        raise ModelError(f"{folder}: no folder of USO's released files: it has no {' and no '.join(lacking)}")
    return Weights(model=str(folder))


def _fetched(released: Weights) -> Path:
    try:
        return local_folder(released)
    except (OSError, ValueError) as error:
        raise ModelError(f"{released.model}: cannot be had from the hub: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _check_place(out: Path) -> None:
    """Before a model is loaded, which may take minutes."""
    there = next(place for place in (out, *out.absolute().parents) if is_there(place))
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise StoreError(f"{out}: {there} is {'not writable' if there.is_dir() else 'a file'}; choose another --out")


def _parsed(size: str) -> Size:
    found = re.fullmatch(r"(\d+)x(\d+)", size)
    if found is None:
        raise ConfigError(f"--size takes WIDTHxHEIGHT in px, as 1024x768, not {size!r}")
    return Size(int(found[2]), int(found[1]))


def _size(pipeline: UsoPipeline, asked: Size | None, contents: Sequence[Image.Image]) -> Size:
    own = int(pipeline.config.size_px)
    if asked is None:
        return bucket_of(*contents[0].size, own) if contents else Size(own, own)
    height, width = asked
    step = PATCH * pipeline.vae_factor
    if width % step or height % step or not width * height:
        near = "x".join(str(max(1, round(side / step)) * step) for side in (width, height))
        raise ConfigError(f"--size {width}x{height}: sides must be multiples of {step} px for this model; the nearest "
                          f"is {near}")
    return asked


def _open(path: Path) -> Image.Image:
    """As trainings and benches see it: upright, white where it is transparent."""
    try:
        return decode(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", file=path) from error
    except ImageError as error:
        raise ConfigError(str(error), file=path) from error
