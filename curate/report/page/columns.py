"""Scores of the units in a form that a page can hold and judge: little-endian arrays in base64.

A run whose scores fit into ``MAX_SCORE_BYTES`` is there as a whole, so the page counts what a seal would, down to
near-duplicates and leaks (``later``); a larger one is a random sample of its units, drawn with a fixed seed, in which
those stay as the seal found them. Rows of the gallery follow the sample and count for nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from curate.records import SUBJECT
from curate.report.contact_sheet import score_label
from curate.report.page.arrays import base64_of
from curate.report.page.later import pack_later
from curate.report.page.rules import columns_by_scorer, good_direction, is_float, near_duplicates
from curate.report.units import UNDECIDED, UnitTable, fold_reasons
from curate.store import RunStore

MAX_SCORE_BYTES = 3_600_000
EXACT_INTEGERS = 2**53
LAYOUTS = ("preserved", "shifted")
NOT_SELECTED = "not selected"
Positions = npt.NDArray[np.int64]


def pack(units: UnitTable, store: RunStore, rules: Sequence[dict[str, Any]], gallery: Sequence[int]) -> dict[str, Any]:
    """What rules.js judges by. ``gallery``: positions of units that follow the sample, in this order."""
    ruled = {rule["column"] for rule in rules}
    near = near_duplicates(units, store)
    hashes = near.column if near else ""
    names = [name for name in units.scores if name in ruled or (name != hashes and _can_be_judged(units, name))]
    bytes_a_unit = sum(4 if is_float(units, name) else 8 for name in names)
    sample = _sample(len(units.frame), MAX_SCORE_BYTES // max(1, bytes_a_unit))
    rows = np.concatenate([sample, np.asarray(gallery, dtype=np.int64)])
    fixed = _fixed(units)
    later = pack_later(units, store, near, fixed == 0) if len(sample) == len(units.frame) else None
    after, reasons = _later_reasons(units.frame, rows, known=later is None)
    return {
        "planned": len(units.frame), "sampled": len(sample), "rows": len(rows),
        "columns": [_column(units, name, rows) for name in names],
        "layouts": list(LAYOUTS), "scorers": list(units.errors), "after_reasons": reasons,
        "layout": base64_of(_codes(units.frame["layout"], rows, LAYOUTS)),
        "fixed": base64_of(fixed[rows]), "after": base64_of(after), "later": later,
        "unseen": base64_of(_first_unseen(units, store)[rows]),
    }


def _can_be_judged(units: UnitTable, name: str) -> bool:
    """Numbers, that is, not hashes: a float64 of the page would lose their low bits."""
    return is_float(units, name) or not bool((units.frame[name].abs() > EXACT_INTEGERS).any())


def _sample(num_units: int, room: int) -> Positions:
    if num_units <= room:
        return np.arange(num_units)
    return np.sort(np.random.default_rng(0).choice(num_units, size=room, replace=False))


def _column(units: UnitTable, name: str, rows: Positions) -> dict[str, Any]:
    whole = not is_float(units, name)
    values = units.frame[name].to_numpy(dtype=np.float64, na_value=np.nan)[rows]
    return {"name": name, "label": score_label(name), "good": good_direction(name), "whole": whole,
            "data": base64_of(values if whole else values.astype(np.float32))}


def _codes(labels: pd.Series[Any], rows: Positions, known: Sequence[str]) -> npt.NDArray[np.uint8]:
    """Position in ``known``; 255 for others."""
    return pd.Categorical(labels.iloc[rows].astype(str), categories=list(known)).codes.astype(np.uint8)


def _fixed(units: UnitTable) -> npt.NDArray[np.uint8]:
    """0 = made, so that rules decide; before there was anything to score 1 = failed, 2 = pending, 3 = turned down."""
    status, stage = units.frame["status"], units.frame["stage"].astype(str)
    judged = units.frame["made"].to_numpy(dtype=bool) | (status == UNDECIDED).to_numpy()
    judged |= stage.isin(list(units.errors)).to_numpy()  # failed at or waiting for a scorer: candidates may be deleted
    return np.select([judged, status == "failed", status == "rejected"], [0, 1, 3], 2).astype(np.uint8)


def is_left_out(frame: pd.DataFrame) -> pd.Series[bool]:
    """(N,) of a selection that the run was sealed with. The stage says so only of units that pass the rules."""
    if "selected" not in frame:
        return frame["stage"] == "selection"
    return ~frame["selected"].astype(bool)


def _later_reasons(frame: pd.DataFrame, rows: Positions, *, known: bool) -> tuple[npt.NDArray[np.uint8], list[str]]:
    """What a unit is rejected for that passes the rules, or is never asked: 0 = nothing, else one more than the
    position.

    ``known``: near-duplicates and leaks too, as the seal found them.
    """
    found = frame[["stage", "reason"]].iloc[rows].astype(str)
    early, later = found["stage"] == SUBJECT, found["stage"].isin(["near_duplicates", "split"]) & known
    said = fold_reasons(found["reason"]).where(early | later)
    told = pd.Categorical(said.mask(is_left_out(frame).to_numpy()[rows] & ~early, NOT_SELECTED))
    return (told.codes + 1).astype(np.uint8), [str(reason) for reason in told.categories]


def _first_unseen(units: UnitTable, store: RunStore) -> npt.NDArray[np.uint8]:
    """One more than the first scorer that has not looked at a unit yet; 0 = all have.

    An index without ``unscored_by``, and the store, tell numbers and errors, not looks: without either, a unit counts
    as not seen, unless its verdict says that all scorers had seen it.
    """
    frame = units.frame
    if "unscored_by" in frame:
        named = frame["unscored_by"].where(frame["unscored_by"] != "")
        return (pd.Categorical(named, categories=list(units.errors)).codes + 1).astype(np.uint8)
    found = np.zeros(len(frame), dtype=np.uint8)
    broken = (frame["stage"] == "rules") & ~frame["reason"].str.endswith(" missing")
    open_ = (broken | frame["status"].isin(["pending", UNDECIDED])).to_numpy()
    for i, (name, columns) in reversed(list(enumerate(columns_by_scorer(units, store).items()))):
        blank = np.ones(len(frame), dtype=bool)
        for column in columns:
            blank &= frame[column].isna().to_numpy()
        said = frame["errors"].str.contains(rf"(?:^|; ){re.escape(name)}: ", regex=True).to_numpy(dtype=bool)
        found[open_ & blank & ~said] = i + 1
    return found
