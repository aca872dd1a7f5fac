"""How large the models of a config are: from the files where they are here, else by what the hub tells of them; nothing
is loaded or fetched but headers of safetensors files."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pydantic import BaseModel

from curate.errors import ModelError
from curate.models import resolve_model
from curate.run.hub import HubFiles, UnknownOnHubError, files_on_hub, num_parameters_on_hub

DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
WEIGHT_NAMES = ("model", "base", "weights", "checkpoint", "head")
"""Fields of stage configs that name weights, at any depth."""
PICKLES = (".bin", ".pt", ".pth")
OPEN_CLIP = ("clip", "aesthetic")
"""Kinds of scorers whose ``model`` open_clip loads."""


@dataclass(frozen=True, slots=True)
class Reference:
    """Weights that a config names."""

    model: str
    """A path, ``zoo:NAME``, a hub id or ORG/REPO/FILE."""
    revision: str | None = None
    inside: str = ""
    """Subfolder or file of it; "" = all."""
    variant: str | None = None
    tag: bool = False
    """It may be a tag of open_clip."""

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.model}/{self.inside}" if self.inside else self.model


@dataclass(frozen=True, slots=True)
class ModelSize:
    """One model that a stage loads. None = unknown."""

    name: str
    file_bytes: int | None
    loaded_bytes: int | None
    """Weights in the dtype of the config; activations come on top (``curate plan --pilot`` measures them)."""
    missing_bytes: int = 0
    """Of the files, those that are not on this machine."""
    why: str = ""
    """Why its files are unknown."""


def model_sizes(config: BaseModel) -> list[ModelSize]:
    """All models that a stage's config names; an empty list for stages without weights."""
    width = DTYPE_BYTES.get(str(getattr(config, "dtype", "float32")), 4)
    return [_size(reference, width) for reference in dict.fromkeys(references(config))]


def references(config: BaseModel) -> Iterator[Reference]:
    """The weights that a config names, at any depth; none of a judge behind a server."""
    if getattr(config, "server", None) is not None:
        return
    for field in type(config).model_fields:
        value = getattr(config, field)
        if isinstance(value, str) and field in WEIGHT_NAMES and value:
            inside = [str(part) for name in ("subfolder", "file") if (part := getattr(config, name, None))]
            yield Reference(value, getattr(config, "head_revision" if field == "head" else "revision", None),
                            "/".join(inside), getattr(config, "variant", None),
                            tag=field == "model" and getattr(config, "kind", "") in OPEN_CLIP)
        for part in value.values() if isinstance(value, dict) else value if isinstance(value, tuple) else (value,):
            if isinstance(part, BaseModel):
                yield from references(part)


def _size(reference: Reference, width: int) -> ModelSize:
    """``width``: bytes of a number once loaded."""
    try:
        path = Path(resolve_model(reference.model))
    except ModelError as error:
        return ModelSize(reference.name, None, None, why=str(error))
    if path.exists():
        files = weight_files(path / reference.inside, reference.variant)
        if not files:
            return ModelSize(reference.name, None, None, why="no weights of a known format there")
        return _size_of(reference.name, {str(file): file.stat().st_size for file in files}, width,
                        [num_parameters(file) for file in files if file.suffix == ".safetensors"])
    try:
        hub = files_on_hub(reference.model, reference.revision, tag=reference.tag)
    except UnknownOnHubError as error:
        return ModelSize(reference.name, None, None, why=str(error))
    inside = "/".join(part for part in (hub.inside, reference.inside) if part)
    sizes = {name: hub.sizes[name] for name in weight_names(_within(hub, inside), reference.variant)}
    if not sizes:
        return ModelSize(reference.name, None, None, why="no weights of a known format there")
    try:
        numbers = [num_parameters(hub.cached[name]) if name in hub.cached else num_parameters_on_hub(hub, name)
                   for name in sizes if name.endswith(".safetensors")]
    except UnknownOnHubError:
        numbers = []
    return _size_of(reference.name, sizes, width, numbers, missing=sum(
        num_bytes for name, num_bytes in sizes.items() if name not in hub.cached))


def _size_of(name: str, sizes: dict[str, int], width: int, numbers: list[int], *, missing: int = 0) -> ModelSize:
    """``numbers``: of parameters, for each file that tells; a pickle does not."""
    return ModelSize(name, sum(sizes.values()), sum(numbers) * width if len(numbers) == len(sizes) else None, missing)


def _within(hub: HubFiles, inside: str) -> list[str]:
    return [name for name in hub.sizes if not inside or name == inside or name.startswith(f"{inside}/")]


def weight_files(place: Path, variant: str | None = None) -> list[Path]:
    """Files with weights of a folder, or the file itself."""
    if place.is_file():
        return [place]
    names = [path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file()]
    return [place / name for name in weight_names(names, variant)]


def weight_names(names: Iterable[str], variant: str | None = None) -> list[str]:
    """Of the paths in a repository those with weights that are loaded: per folder its safetensors, of several
    precisions the ``variant`` or the plain one; pickles only where there is nothing else. Beside a model_index.json lie
    files for other programs: a pipeline of diffusers has its weights in folders.
    """
    folders: defaultdict[str, list[PurePosixPath]] = defaultdict(list)
    known = sorted(map(PurePosixPath, names))
    for path in known:
        folders[str(path.parent)].append(path)
    if PurePosixPath("model_index.json") in known:
        del folders["."]
    found: list[PurePosixPath] = []
    for paths in folders.values():
        tensors = [path for path in paths if path.suffix == ".safetensors"]
        wanted = [path for path in tensors if variant in path.name.split(".")]
        plain = [path for path in tensors if not {"fp16", "bf16"} & set(path.name.split("."))]
        found += wanted or plain or tensors or [path for path in paths if path.suffix in PICKLES]
    return [str(path) for path in found]


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
