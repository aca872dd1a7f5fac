"""Checks that need the run directory: segments of candidates and scores, and the index against plan and ledger."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from curate.errors import StoreError
from curate.interfaces import ROLES
from curate.records import Unit
from curate.seal.fault import Fault
from curate.seal.publish import INDEX
from curate.store import RunPaths, RunStore
from curate.store.tables import read_table
from curate.store.tars import Extent, read_extents


def verify_segments(paths: RunPaths, *, deep: bool) -> list[Fault]:
    """Every committed segment: readable, its tar there and long enough, scores only of units that were made."""
    faults: list[Fault] = []
    made: set[str] = set()
    for path in sorted(paths.candidates.glob("seg-*.parquet")):
        try:
            rows = [row for row in read_table(path).to_pylist() if row["status"] == "made"]
            made |= {row["unit_id"] for row in rows}
            faults += _check_tar(path, rows, deep=deep)
        except (StoreError, KeyError, TypeError) as error:
            faults.append(Fault(path.name, f"cannot be used: {error}"))
    for path in sorted(paths.all_scores.glob("*/seg-*.parquet")):
        place = f"{path.parent.name}/{path.name}"
        try:
            ids = read_table(path).column("unit_id").to_pylist()
        except (StoreError, KeyError) as error:
            faults.append(Fault(place, f"cannot be used: {error}"))
            continue
        strangers = [unit_id for unit_id in ids if unit_id not in made]
        if strangers:
            faults.append(Fault(place, f"scores unit {strangers[0]}, which has no candidate"
                                       + (f" (and {len(strangers) - 1} more)" if len(strangers) > 1 else "")))
    return faults


def _check_tar(path: Path, rows: Sequence[dict[str, Any]], *, deep: bool) -> list[Fault]:
    tar = path.with_suffix(".tar")
    if not tar.is_file():
        return [Fault(tar.name, f"is missing, but {path.name} is committed; delete that too and run again")]
    size = tar.stat().st_size
    faults = []
    for row in rows:
        extents = [Extent(row[f"{role}_offset"], row[f"{role}_bytes"]) for role in ROLES]
        if any(extent.offset + extent.size > size for extent in extents):
            return [Fault(tar.name, f"ends before the images of unit {row['unit_id']}; delete it and {path.name}, "
                                    "then run again")]
        if deep:
            for role, data in zip(ROLES, read_extents(tar, extents), strict=True):
                if hashlib.sha256(data).hexdigest() != row[f"{role}_sha256"]:
                    faults.append(Fault(tar.name, f"the {role} image of unit {row['unit_id']} has been changed"))
    return faults


def verify_statuses(store: RunStore, units: Sequence[Unit]) -> list[Fault]:
    """The index against the plan, and its statuses against the ledger. Candidates made since the seal are no fault."""
    rows = read_table(store.paths.shards / INDEX).select(["unit_id", "status"]).to_pylist()
    planned, indexed = [unit.unit_id for unit in units], [row["unit_id"] for row in rows]
    if planned != indexed:
        lost, strange = set(planned) - set(indexed), set(indexed) - set(planned)
        says = f"{len(lost)} planned units are not in it and {len(strange)} of its units are not planned"
        return [Fault(INDEX, f"does not agree with the plan: {says if lost or strange else 'the order differs'}; "
                             "seal again")]
    made = store.committed(include_failed=False)
    return [Fault(INDEX, f"says that unit {row['unit_id']} is {row['status']}, but its candidate is not committed")
            for row in rows if row["status"] in ("kept", "rejected") and row["unit_id"] not in made]
