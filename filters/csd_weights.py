"""CSD weights: our folder format, the official pickle, and its safetensors mirror. All keys or nothing.

The official loader is ``strict=False``, so a wrong file leaves plain CLIP in place without a word. Here every
tensor of the network must be in the file and every tensor of the file in the network.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from curate.errors import ModelError
from curate.pretrained import MAX_LISTED
from filters.csd_network import OFFICIAL_ARCH, CsdArch, CsdNetwork
from filters.weights import read_tensors

CONFIG, WEIGHTS = "config.json", "model.safetensors"


def load_csd(path: Path) -> CsdNetwork:
    """The network in float32 from a zoo folder, or from a file of the published ViT-L/14."""
    if path.is_dir():
        arch = CsdArch.model_validate_json(_read(path / CONFIG))
        state = _tensors(path / WEIGHTS)
    else:
        arch, state = OFFICIAL_ARCH, _tensors(path)
    with torch.device("meta"):
        network = CsdNetwork(arch)
    _check(path, network.state_dict(), state)
    network.load_state_dict({k: v.float() for k, v in state.items()}, strict=True, assign=True)
    return network.eval()


def save_csd(network: CsdNetwork, folder: Path) -> None:
    """Write ``config.json`` and half-precision ``model.safetensors``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).write_text(json.dumps(network.arch.model_dump(), indent=1) + "\n", encoding="utf-8")
    save_file(
        {k: v.detach().half().contiguous() for k, v in network.state_dict().items()},
        folder / WEIGHTS,
        metadata={"format": "pt"},
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from error


def _tensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a file under their names in ``CsdNetwork``. The official pickle is {model_state_dict, opt_bb,
    opt_proj, iter, args, fp16_scaler}, its names perhaps behind ``module.``.
    """
    loaded = read_tensors(path, what="a CSD checkpoint")
    state = loaded.get("model_state_dict", loaded)
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ModelError(f"{path}: not a CSD checkpoint: it does not hold named tensors alone")
    state = {k.removeprefix("module."): v for k, v in state.items()}
    return from_transformers_names(state) if any(".encoder.layers." in k for k in state) else state


def _check(path: Path, wanted: dict[str, Tensor], found: dict[str, Tensor]) -> None:
    missing, unexpected = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    if missing or unexpected:
        clip = "last_layer_style" in missing and any("resblocks" in k or "encoder.layers" in k for k in found)
        raise ModelError(
            f"{path}: not a whole CSD checkpoint: {len(missing)} tensors missing {missing[:MAX_LISTED]}, "
            f"{len(unexpected)} unexpected {unexpected[:MAX_LISTED]}"
            + ("; a plain CLIP, which has no style head?" if clip else "")
        )
    wrong = [
        f"{k} {tuple(found[k].shape)} for {tuple(v.shape)}"
        for k, v in wanted.items()
        if found[k].shape != v.shape
    ]
    if wrong:
        raise ModelError(f"{path}: tensors of another size: {wrong[:MAX_LISTED]}")


# (OpenAI's name, its name in transformers' CLIPVisionModel, which version 5 freed of the prefix
# "vision_model.")
_NAMES = (
    ("conv1.weight", "embeddings.patch_embedding.weight"),
    ("class_embedding", "embeddings.class_embedding"),
    ("positional_embedding", "embeddings.position_embedding.weight"),
    ("ln_pre.", "pre_layrnorm."),
    ("ln_post.", "post_layernorm."),
    ("transformer.resblocks.", "encoder.layers."),
    (".ln_1.", ".layer_norm1."),
    (".ln_2.", ".layer_norm2."),
    (".mlp.c_fc.", ".mlp.fc1."),
    (".mlp.c_proj.", ".mlp.fc2."),
    (".attn.out_proj.", ".self_attn.out_proj."),
)
_PROJECTION = re.compile(r"encoder\.layers\.(\d+)\.self_attn\.([qkv])_proj\.(weight|bias)$")


def from_transformers_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of transformers' ``CLIPVisionModel`` under OpenAI's names (q, k, v in one in_proj)."""
    renamed: dict[str, Tensor] = {}
    fused: dict[str, dict[str, Tensor]] = {}
    for old, value in state.items():
        key = old.replace("vision_model.", "")
        if key.endswith("embeddings.position_ids"):  # a buffer of old transformers versions, no weight
            continue
        match = _PROJECTION.search(key)
        if match:
            name = f"{key[: match.start()]}transformer.resblocks.{match[1]}.attn.in_proj_{match[3]}"
            fused.setdefault(name, {})[match[2]] = value
            continue
        for ours, theirs in _NAMES:
            key = key.replace(theirs, ours)
        renamed[key] = value
    whole = {
        name: torch.cat([parts[p] for p in "qkv"])
        for name, parts in fused.items()
        if set(parts) == set("qkv")
    }
    return {**renamed, **whole}


def to_transformers_names(backbone: dict[str, Tensor]) -> dict[str, Tensor]:
    """The inverse for a backbone alone: OpenAI's names to those of transformers' ``CLIPVisionModel``."""
    renamed: dict[str, Tensor] = {}
    for key, value in backbone.items():
        block, fused, kind = key.partition(".attn.in_proj_")
        if fused:
            layer = block.rpartition(".")[2]
            for part, piece in zip("qkv", value.chunk(3), strict=True):
                renamed[f"encoder.layers.{layer}.self_attn.{part}_proj.{kind}"] = piece
            continue
        for ours, theirs in _NAMES:
            key = key.replace(ours, theirs)
        renamed[key] = value
    return renamed
