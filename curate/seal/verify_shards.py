"""Checks of a sealed folder by itself: nothing but the folder is needed, so a copy can be checked anywhere."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from curate.errors import StoreError
from curate.seal.fault import Fault
from curate.seal.judge import STATUSES
from curate.seal.publish import DATASET_JSON, INDEX
from curate.seal.verify_samples import check_sample
from curate.store.tables import read_table

CHUNK = 2**22


def verify_folder(folder: Path) -> list[Fault]:
    """All faults of the folder."""
    try:
        dataset = json.loads((folder / DATASET_JSON).read_text(encoding="utf-8"))
        listed = {shard["name"]: shard for shard in dataset["shards"]}
        sidecars, members = dict(dataset["files"]), list(dataset["members"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [Fault(DATASET_JSON, f"cannot be used ({type(error).__name__}: {error}); seal again")]
    faults = [Fault(path.name, "is not part of the dataset: no shard of this name is listed")
              for path in sorted(folder.iterdir()) if path.name not in {*listed, *sidecars, DATASET_JSON}]
    for name, entry in (*sidecars.items(), *listed.items()):
        faults += _check_file(folder / name, entry)
    found: dict[str, list[str]] = {}
    for name, entry in listed.items():
        if (folder / name).is_file():
            inside, wrong = _walk(folder / name, members)
            faults += wrong
            if len(inside) != entry["samples"]:
                faults.append(Fault(name, f"has {len(inside)} samples where {DATASET_JSON} says {entry['samples']}"))
            for unit_id in inside:
                found.setdefault(unit_id, []).append(name)
    return faults + _check_index(folder, dataset, found)


def _check_file(path: Path, entry: dict[str, Any]) -> list[Fault]:
    if not path.is_file():
        return [Fault(path.name, f"is missing, but {DATASET_JSON} lists it")]
    size = path.stat().st_size
    if size != entry["bytes"]:
        return [Fault(path.name, f"has {size} bytes where {DATASET_JSON} says {entry['bytes']}")]
    digest = hashlib.sha256()
    with path.open("rb") as f:
        while chunk := f.read(CHUNK):
            digest.update(chunk)
    if digest.hexdigest() != entry["sha256"]:
        return [Fault(path.name, f"has been changed: its sha256 is not the one in {DATASET_JSON}")]
    return []


def _walk(path: Path, suffixes: list[str]) -> tuple[list[str], list[Fault]]:
    """Keys of the samples in a tar, one for each run of adjacent members, and what is wrong with them."""
    keys: list[str] = []
    faults: list[Fault] = []
    sample: dict[str, bytes] = {}
    try:
        for key, suffix, data in _members(path):
            if not keys or key != keys[-1]:
                if keys:
                    faults += check_sample(path.name, keys[-1], sample, suffixes)
                keys.append(key)
                sample = {}
            if suffix in sample:
                faults.append(Fault(path.name, f"sample {key} has two .{suffix} members"))
            sample[suffix] = data
    except (tarfile.TarError, OSError, EOFError) as error:
        faults.append(Fault(path.name, f"is not a whole tar: {error}"))
    if keys:
        faults += check_sample(path.name, keys[-1], sample, suffixes)
    return keys, faults


def _members(path: Path) -> Iterator[tuple[str, str, bytes]]:
    with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
        for member in tar:
            inside = tar.extractfile(member)
            if inside is None:
                raise tarfile.TarError(f"{member.name} is not a file")
            data = inside.read()
            if len(data) != member.size:
                raise tarfile.TarError(f"{member.name} ends after {len(data)} of {member.size} bytes")
            key, _, suffix = member.name.partition(".")
            yield key, suffix, data


def _check_index(folder: Path, dataset: dict[str, Any], found: dict[str, list[str]]) -> list[Fault]:
    """The index against what lies in the tars, and against the totals."""
    if not (folder / INDEX).is_file():
        return []  # said already: the file is listed
    try:
        index = read_table(folder / INDEX).select(["unit_id", "status", "shard", "split"])
    except (StoreError, pa.ArrowException, KeyError) as error:
        return [Fault(INDEX, f"cannot be read: {error}")]
    rows = index.to_pylist()
    faults = [Fault(INDEX, f"has unit {unit_id} {n} times")
              for unit_id, n in Counter(row["unit_id"] for row in rows).items() if n > 1]
    kept = {row["unit_id"]: row for row in rows if row["status"] == "kept"}
    for unit_id, row in kept.items():
        places = found.get(unit_id, [])
        if not places:
            faults.append(Fault(row["shard"], f"unit {unit_id} is kept, but in no shard"))
        elif len(places) > 1:
            faults.append(Fault(", ".join(sorted(set(places))), f"unit {unit_id} stands there {len(places)} times"))
        elif places[0] != row["shard"] or not places[0].startswith(f"{row['split']}-"):
            faults.append(Fault(places[0], f"unit {unit_id} belongs to {row['shard']}, split {row['split']}"))
    faults += [Fault(places[0], f"unit {unit_id} is in the shard, but the {INDEX} does not say kept")
               for unit_id, places in found.items() if unit_id not in kept]
    return faults + _check_totals(dataset, Counter(str(row["status"]) for row in rows), len(rows))


def _check_totals(dataset: dict[str, Any], counts: Counter[str], num_rows: int) -> list[Fault]:
    try:
        totals = dataset["totals"]
        said = {"kept": totals["kept"], "rejected": sum(totals["rejected"].values()),
                "failed": sum(totals["failed"].values()), "pending": totals["pending"]}
        planned = totals["planned"]
    except (KeyError, TypeError, AttributeError):
        return [Fault(DATASET_JSON, "has no totals")]
    faults = []
    if sum(said.values()) != planned:
        faults.append(Fault(DATASET_JSON, f"{planned} planned, but its totals add up to {sum(said.values())}"))
    if num_rows != planned:
        faults.append(Fault(INDEX, f"has {num_rows} units where {DATASET_JSON} says {planned} were planned"))
    faults += [Fault(INDEX, f"has {counts[status]} {status} units where {DATASET_JSON} says {said[status]}")
               for status in STATUSES if counts[status] != said[status]]
    faults += [Fault(INDEX, f"has the unknown status {status!r}") for status in counts if status not in STATUSES]
    return faults


