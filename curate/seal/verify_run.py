"""Checks that need the run directory: segments of candidates and scores, and the index against plan and ledger."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from curate.errors import StoreError
from curate.files import list_files
from curate.interfaces import ROLES, Role
from curate.keys import ID_BYTES, KeyIndex, id_bytes
from curate.records import SUBJECT
from curate.seal.fault import Fault
from curate.seal.publish import INDEX
from curate.store import RunPaths, RunStore
from curate.store.standing import FAILED, MADE
from curate.store.tables import open_parquet, read_table
from curate.store.tars import Extent, read_extents


def verify_segments(paths: RunPaths, *, deep: bool, size_px: int | None = None) -> list[Fault]:
    """All committed rows: readable, their tars there and long enough, scores only of units that were made; ``deep``:
    images as they were committed, and all of ``size_px`` x ``size_px`` (None = not known)."""
    faults: list[Fault] = []
    made = [np.zeros((0, ID_BYTES), dtype=np.uint8)]
    for name, table in _pieces(paths.ledger, faults, ""):
        try:
            rows = table.filter(pc.equal(table.column("status"), "made"))
            made.append(id_bytes(rows.column("unit_id").combine_chunks()))
            blocks: dict[str, list[dict[str, Any]]] = {}
            for row in rows.to_pylist():
                blocks.setdefault(row["block_id"], []).append(row)
            for block_id in sorted(set(table.column("block_id").to_pylist())):
                faults += _check_tar(paths.candidate_tar(block_id), blocks.get(block_id, []), deep=deep,
                                     size_px=size_px)
        except (StoreError, KeyError, TypeError) as error:
            faults.append(Fault(name, f"cannot be used: {error}"))
    index = KeyIndex(np.concatenate(made))
    for folder in sorted(paths.all_scores.glob("*")):
        for name, table in _pieces(folder, faults, f"{folder.name}/"):
            ids = table.column("unit_id").combine_chunks()
            strangers = np.flatnonzero(index.find(id_bytes(ids)) < 0)
            if len(strangers):
                faults.append(Fault(f"{folder.name}/{name}", f"scores unit {ids[strangers[0]]}, which has no candidate"
                                    + (f" (and {len(strangers) - 1} more)" if len(strangers) > 1 else "")))
    return faults


def _pieces(folder: Path, faults: list[Fault], within: str) -> Iterator[tuple[str, pa.Table]]:
    """Names of the files with rows, and their row groups. What cannot be read is added to ``faults``."""
    for name in sorted(name for name in list_files(folder) if name.startswith(("seg-", "rows-"))):
        try:
            with open_parquet(folder / name) as file:
                for group in range(file.num_row_groups):
                    yield name, file.read_row_group(group, use_threads=False)
        except (StoreError, OSError, pa.ArrowException) as error:
            faults.append(Fault(f"{within}{name}", f"cannot be used: {error}"))


def _check_tar(tar: Path, rows: Sequence[dict[str, Any]], *, deep: bool, size_px: int | None) -> list[Fault]:
    if not tar.is_file():
        return [Fault(tar.name, "is missing, but its rows are committed; `curate run` makes its units again")]
    size = tar.stat().st_size
    faults = []
    for row in rows:
        extents = [Extent(row[f"{role}_offset"], row[f"{role}_bytes"]) for role in ROLES]
        if any(extent.offset + extent.size > size for extent in extents):
            return [Fault(tar.name, f"ends before the images of unit {row['unit_id']}; delete it, then run again")]
        if deep:
            images = dict(zip(ROLES, read_extents(tar, extents), strict=True))
            changed = [role for role, data in images.items()
                       if hashlib.sha256(data).hexdigest() != row[f"{role}_sha256"]]
            faults += [Fault(tar.name, f"the {role} image of unit {row['unit_id']} has been changed")
                       for role in changed]
            if size_px is not None and not changed:
                faults += _check_sizes(tar, row["unit_id"], images, size_px)
    return faults


def _check_sizes(tar: Path, unit_id: str, images: Mapping[Role, bytes], size_px: int) -> list[Fault]:
    try:
        sizes = {role: Image.open(io.BytesIO(data)).size for role, data in images.items()}
    except OSError as error:
        return [Fault(tar.name, f"an image of unit {unit_id} does not decode: {error}")]
    if all(size == (size_px, size_px) for size in sizes.values()):
        return []
    said = ", ".join(f"{role} {width} x {height} px" for role, (width, height) in sizes.items())
    return [Fault(tar.name, f"unit {unit_id}: {said}, where the run's size is {size_px} x {size_px} px")]


def verify_statuses(store: RunStore) -> list[Fault]:
    """The index against the plan, and its statuses against the ledger. Candidates made since the seal are no fault."""
    index = read_table(store.paths.shards / INDEX).select(["unit_id", "status", "stage"])
    planned, indexed = store.plan.table(["unit_id"]).column(0), index.column("unit_id")
    if not planned.equals(indexed):
        lost, strange = set(planned.to_pylist()) - set(indexed.to_pylist()), set(indexed.to_pylist()) - set(
            planned.to_pylist())
        says = f"{len(lost)} planned units are not in it and {len(strange)} of its units are not planned"
        return [Fault(INDEX, f"does not agree with the plan: {says if lost or strange else 'the order differs'}; "
                             "seal again")]
    decided = np.asarray(pc.is_in(index.column("status"), pa.array(["kept", "rejected"])))
    standing = store.standing().status
    early = np.asarray(pc.equal(index.column("stage"), SUBJECT)) & (standing == FAILED)
    without = np.flatnonzero(decided & ~early & (standing != MADE))
    return [Fault(INDEX, f"says that unit {row['unit_id']} is {row['status']}, but its candidate is not committed")
            for row in index.take(pa.array(without)).to_pylist()]
