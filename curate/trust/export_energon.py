"""For Megatron Energon: the sealed shards with the ``.nv-meta`` folder and tar indexes that `energon prepare` makes.

Formats by NVIDIA/Megatron-Energon 7.4 (flavors/webdataset): ``.info.json`` counts samples by shard, ``split.yaml``
lists the shards of a split, ``dataset.yaml`` names the sample type (crude: a dict of members, cooked by the user's task
encoder), and ``<shard>.tar.idx`` holds the offset of each sample's first header and of the end, as 64-bit integers.
"""

from __future__ import annotations

import struct
import tarfile
from pathlib import Path
from typing import Any

import yaml

from curate.dataset import SealedFolder
from curate.files import write_atomic, write_json
from curate.trust.combining import combine

META = ".nv-meta"


def export_energon(sealed: SealedFolder, out: Path, ids: frozenset[str] | None) -> None:
    """A sealed folder with what Energon needs beside it."""
    combine([sealed], out, ids=ids)
    shards: list[dict[str, Any]] = SealedFolder(out).dataset["shards"]
    splits: dict[str, list[str]] = {}
    for shard in shards:
        splits.setdefault(shard["split"], []).append(shard["name"])
        name = out / f"{Path(shard['name']).stem}.tar.idx"
        write_atomic(name, b"".join(struct.pack("<Q", at) for at in sample_offsets(out / shard["name"])))
    write_json(out / META / ".info.json", {"shard_counts": {shard["name"]: shard["samples"] for shard in shards}})
    _write_yaml(out / META / "split.yaml", {"split_parts": splits, "exclude": []})
    _write_yaml(out / META / "dataset.yaml", {"__module__": "megatron.energon", "__class__": "CrudeWebdataset"})


def sample_offsets(path: Path) -> list[int]:
    """Where each sample of a tar begins, and where the last one ends."""
    offsets: list[int] = []
    last = ""
    with tarfile.open(path, "r:") as tar:
        for member in tar:
            key = member.name.partition(".")[0]
            if key != last:
                offsets.append(member.offset)
                last = key
        return [*offsets, int(tar.offset)]


def _write_yaml(path: Path, value: dict[str, Any]) -> None:
    write_atomic(path, yaml.safe_dump(value, sort_keys=False).encode())
