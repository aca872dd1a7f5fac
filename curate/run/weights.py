"""How large the models of a config are, from safetensors headers where the files are here; nothing is loaded."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from curate.errors import ModelError
from curate.models import resolve_model

DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
WEIGHT_NAMES = ("model", "base", "weights", "checkpoint")
"""Fields of stage configs that name weights, at any depth."""


@dataclass(frozen=True, slots=True)
class ModelSize:
    """One model that a stage loads. None = unknown: its files are not on this machine, or of an unknown format."""

    name: str
    file_bytes: int | None
    loaded_bytes: int | None
    """Weights in the dtype of the config; activations come on top (``curate plan --pilot`` measures them)."""


def model_sizes(config: BaseModel) -> list[ModelSize]:
    """All models that a stage's config names; an empty list for stages without weights."""
    dtype = str(getattr(config, "dtype", "float32"))
    return [_size(name, getattr(config, "revision", None), dtype) for name in dict.fromkeys(_named(config))]


def _named(config: BaseModel) -> Iterator[str]:
    for field in type(config).model_fields:
        value = getattr(config, field)
        if isinstance(value, str) and field in WEIGHT_NAMES and value:
            yield value
        for part in value.values() if isinstance(value, dict) else value if isinstance(value, tuple) else (value,):
            if isinstance(part, BaseModel):
                yield from _named(part)


def _size(name: str, revision: str | None, dtype: str) -> ModelSize:
    files = weight_files(_place(name, revision))
    if not files:
        return ModelSize(name, None, None)
    total = sum(file.stat().st_size for file in files)
    if any(file.suffix != ".safetensors" for file in files):
        return ModelSize(name, total, None)
    return ModelSize(name, total, sum(num_parameters(file) for file in files) * DTYPE_BYTES.get(dtype, 4))


def _place(name: str, revision: str | None) -> Path | None:
    """The folder or file of a model; of a hub id its snapshot in huggingface_hub's cache. Nothing is downloaded."""
    try:
        path = Path(resolve_model(name))
    except ModelError:
        return None
    if path.exists():
        return path
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name.removeprefix("hf-hub:"), revision=revision, local_files_only=True))
    except Exception:  # not in the cache, or no hub id at all (a tag of open_clip): either way its size is unknown
        return None


def weight_files(place: Path | None) -> list[Path]:
    """Files with weights below a folder: per folder its safetensors, without a second precision beside them; pickles
    only where there is nothing else."""
    if place is None:
        return []
    if place.is_file():
        return [place]
    found: list[Path] = []
    for folder in sorted({path.parent for path in place.rglob("*") if path.is_file()}):
        tensors = sorted(folder.glob("*.safetensors"))
        plain = [path for path in tensors if not {"fp16", "bf16"} & set(path.name.split("."))]
        found += plain or tensors or sorted(p for p in folder.iterdir() if p.suffix in (".bin", ".pt", ".pth"))
    return found


def num_parameters(file: Path) -> int:
    """Numbers in a safetensors file, from its header (https://github.com/huggingface/safetensors#format).

    Raises ModelError where the header is damaged.
    """
    try:
        with open(file, "rb") as f:
            header = json.loads(f.read(int.from_bytes(f.read(8), "little")))
        return sum(math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")
    except (OSError, ValueError, KeyError, TypeError, MemoryError, OverflowError) as error:
        raise ModelError(f"{file}: not a safetensors file: {error}") from error
