"""dataset.json of a sealed folder: which shards a split has, how many samples each, and what the members are called."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.errors import ConfigError, SourceError
from curate.interfaces import ROLES
from curate.seal.publish import DATASET_JSON
from curate.seal.sealing import FORMAT
from curate.seeds import digest
from pipelines.data.streams import open_stream

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class ShardFile:
    """One tar and the number of its samples."""

    url: str
    samples: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """A split of a dataset. ``suffixes``: content, style, stylized, txt, json -> suffix of the member in a tar."""

    path: str
    shards: tuple[ShardFile, ...]
    suffixes: Mapping[str, str]


def read_manifest(path: str, split: str) -> Manifest:
    """The split as dataset.json has it. SourceError: absent or unusable; ConfigError: the split has no samples."""
    folder = path.rstrip("/")
    url = f"{folder}/{DATASET_JSON}"
    said = _load(folder, url)
    try:
        if said["format"] != FORMAT:
            raise SourceError(f"{url}: has format {said['format']}, this version reads {FORMAT}")
        suffixes = {part: _suffix(part, said["members"], url) for part in (*ROLES, "txt", "json")}
        shards = tuple(ShardFile(f"{folder}/{_name(shard['name'])}", _count(shard["samples"]))
                       for shard in said["shards"] if shard["split"] == split)
        others = sorted({str(shard["split"]) for shard in said["shards"]})
    except (KeyError, TypeError, ValueError) as error:
        raise SourceError(f"{url}: not the list of a sealed dataset ({type(error).__name__}: {error})") from error
    if not shards:
        there = f"it has: {', '.join(others)}" if others else "nothing was kept at all"
        raise ConfigError(f"no samples in split {split!r} ({there})", file=url, key="split")
    return Manifest(path, shards, suffixes)


def dataset_digest(path: str, split: str) -> str:
    """Hex digits that change when the samples of a sealed dataset may: names, sizes and hashes of its shards, wherever
    it lies. Raises as ``read_manifest``."""
    read_manifest(path, split)
    folder = path.rstrip("/")
    said = _load(folder, f"{folder}/{DATASET_JSON}")
    return digest(json.dumps([said["members"], said["shards"]], sort_keys=True))


def _load(folder: str, url: str) -> Any:
    try:
        with open_stream(url) as stream:
            return json.loads(stream.read())
    except SourceError as error:
        nested = Path(folder) / "shards" / DATASET_JSON
        hint = f"; {nested} is there: did you mean {nested.parent}?" if nested.is_file() else ""
        raise SourceError(f"{error}: a sealed dataset is a folder with a {DATASET_JSON}{hint}") from error
    except ValueError as error:
        raise SourceError(f"{url}: not valid JSON: {error}") from error


def _suffix(part: str, members: list[str], url: str) -> str:
    for suffix in members:
        if suffix == part or suffix.startswith(f"{part}."):
            return suffix
    raise SourceError(f"{url}: samples have no {part} member, only {', '.join(members)}")


def _name(value: str) -> str:
    """A file name of this folder, and nothing else: the list may come from a stranger's server."""
    if not _PLAIN_NAME.fullmatch(value):
        raise ValueError(f"shard name {value!r}")
    return value


def _count(value: int) -> int:
    if not isinstance(value, int) or value < 1:
        raise ValueError(f"{value!r} samples in a shard")
    return value
