"""What a seal judges after the rules, near-duplicates and leaks across the split, for the page to judge again.

Packed are the units that can be concerned at all: those that look like one of another source or side, and those whose
subject stands on both sides. ``later.js`` goes through them as ``curate.seal.judge`` does.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from curate.report.page.arrays import base64_of
from curate.report.units import UnitTable
from curate.seal import NearDuplicateConfig
from curate.seal.facts import numbered
from curate.seal.indexed import KEYS
from curate.seal.look_alikes import Bools, Ints, LookAlikes
from curate.seal.split import keys_of
from curate.store import RunStore

MAX_LATER_BYTES = 600_000
"""Of a run with more look-alikes the page keeps what the seal found."""
Arrays = dict[str, npt.NDArray[Any]]


def pack_later(units: UnitTable, store: RunStore, near: NearDuplicateConfig | None, made: Bools,
               ) -> dict[str, Any] | None:
    """Arrays for later.js over all units of the run, ``made`` (N,) of which have images.

    None where they take too much room, or an index of an earlier version lacks what the verdicts depend on.
    """
    keys = _keys(units, store)
    if keys is None:
        return None
    sources, subjects = numbered(*keys)
    val = (units.frame["split"] == "val").to_numpy(dtype=bool)
    arrays = {**_alike(units, near, sources, val, made), **_shared(subjects, val, made)}
    if sum(array.nbytes for array in arrays.values()) > MAX_LATER_BYTES:
        return None
    return {"column": near.column if near else "", **{name: base64_of(array) for name, array in arrays.items()}}


def _keys(units: UnitTable, store: RunStore) -> Ints | None:
    if units.dataset is None:
        return keys_of(store.plan.table())
    if not set(KEYS) <= set(units.frame.columns):
        return None
    return np.stack([units.frame[name].to_numpy(dtype=np.int64, na_value=0) for name in KEYS])


def _alike(units: UnitTable, near: NearDuplicateConfig | None, sources: Ints, val: Bools, made: Bools) -> Arrays:
    """``rows`` with their hash (``code``), source and side; ``left`` and ``right``: hashes near one another; rows that
    are ``unhashed``."""
    hashed, bits = np.zeros(len(made), dtype=bool), np.zeros(len(made), dtype=np.int64)
    if near is not None and near.column in units.frame:
        hashed = units.frame[near.column].notna().to_numpy(dtype=bool) & made
        bits = units.frame[near.column].to_numpy(dtype=np.int64, na_value=0)
    alike = LookAlikes(bits.view(np.uint64), near.max_distance if near else 0, among=hashed)
    members = np.flatnonzero(hashed)
    codes, groups = alike.codes[members], sources[members] * 2 + val[members]
    one_of = np.zeros(alike.count, dtype=np.int64)
    one_of[codes] = groups
    entangled = np.zeros(alike.count, dtype=bool)
    entangled[codes[one_of[codes] != groups]] = True
    entangled[alike.left] = True
    rows = members[entangled[codes]]
    once = alike.left < alike.right
    unhashed = np.flatnonzero(made & ~hashed) if near else rows[:0]
    found = {"rows": rows, "code": alike.codes[rows], "source": sources[rows], "left": alike.left[once],
             "right": alike.right[once], "unhashed": unhashed}
    return {**{name: values.astype(np.int32) for name, values in found.items()}, "val": val[rows].astype(np.uint8)}


def _shared(subjects: Ints, val: Bools, made: Bools) -> Arrays:
    """``shared`` rows whose own or style reference's subject stands on the other side too; -1 = it does not."""
    sides = np.zeros((2, int(subjects.max(initial=-1)) + 2), dtype=bool)
    for side in (0, 1):
        sides[side, subjects[:, made & (val == bool(side))]] = True
    both: Bools = sides[0] & sides[1]
    both[-1] = False  # where the unknown subjects' -1 points
    subjects = np.where(both[subjects], subjects, -1)
    rows = np.flatnonzero(made & (subjects >= 0).any(axis=0))
    return {"shared": rows.astype(np.int32), "subject": subjects[0, rows].astype(np.int32),
            "style_subject": subjects[1, rows].astype(np.int32), "shared_val": val[rows].astype(np.uint8)}
