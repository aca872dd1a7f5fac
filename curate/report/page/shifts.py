"""How scores and verdicts moved between two runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from curate.report.contact_sheet import score_label
from curate.report.page.rules import good_direction, is_float
from curate.report.units import STATUSES, UnitTable

Floats = npt.NDArray[np.float64]
BINS = 44
MAX_ROWS = 12


class YieldRow(NamedTuple):
    """A style, layout, ... that both runs have: planned units and yield in each, and the difference of yields."""

    name: str
    planned: tuple[int, int]
    shares: tuple[float, float]
    difference: float


def score_shifts(one: UnitTable, other: UnitTable) -> list[dict[str, Any]]:
    """Of each score that both runs have, over the units that were made: medians, how likely a number of the other run
    is above one of the first (0.5 = no shift; the common-language effect size of McGraw and Wong 1992), histograms in
    the same bins as shares. The furthest shift comes first."""
    rows = []
    for name in one.scores:
        if name not in other.scores or not is_float(one, name) or not is_float(other, name):
            continue
        a, b = (np.sort(_finite(units, name)) for units in (one, other))
        if len(a) and len(b):
            edges = np.linspace(min(a[0], b[0]), max(a[-1], b[-1]) or 1.0, BINS + 1)
            if edges[0] == edges[-1]:
                edges = np.linspace(edges[0] - 0.5, edges[0] + 0.5, BINS + 1)
            rows.append({"name": name, "label": score_label(name), "good": good_direction(name),
                         "medians": [float(np.median(a)), float(np.median(b))], "above": _above(a, b),
                         "low": float(edges[0]), "high": float(edges[-1]),
                         "shares": [(np.histogram(values, edges)[0] / len(values)).round(5).tolist()
                                    for values in (a, b)]})
    return sorted(rows, key=lambda row: -abs(row["above"] - 0.5))


def _finite(units: UnitTable, name: str) -> Floats:
    values = units.frame.loc[units.frame["made"], name].to_numpy(dtype=np.float64, na_value=np.nan)
    found: Floats = values[np.isfinite(values)]
    return found


def _above(a: Floats, b: Floats) -> float:
    """P(b > a) + P(b = a) / 2 of sorted numbers."""
    below = np.searchsorted(a, b, side="left") + np.searchsorted(a, b, side="right")
    return float(below.mean() / (2 * len(a)))


def yield_shifts(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[YieldRow]:
    """Rows of two yield tables of ``collect`` with a yield in both, the furthest apart first, at most ``MAX_ROWS``."""
    rows = [YieldRow(name, (row["planned"], other[name]["planned"]), (row["yield"], other[name]["yield"]),
                     other[name]["yield"] - row["yield"])
            for name, row in one.items() if row["yield"] is not None and other.get(name, {}).get("yield") is not None]
    return sorted(rows, key=lambda row: (-abs(row.difference), row.name))[:MAX_ROWS]


def transitions(one: UnitTable, other: UnitTable) -> pd.DataFrame:
    """Of the units that both runs plan: rows the status in the first, columns in the other, both in ``STATUSES``."""
    mine = one.frame.set_index("unit_id")["status"].astype(str)
    theirs = other.frame.set_index("unit_id")["status"].astype(str)
    both = mine.index.intersection(theirs.index)
    return pd.crosstab(mine[both].to_numpy(), theirs[both].to_numpy()).reindex(
        index=list(STATUSES), columns=list(STATUSES), fill_value=0)


def flipped(one: UnitTable, other: UnitTable) -> list[int]:
    """Positions in the other run of made units that exactly one of the runs keeps, by unit id."""
    kept = one.frame.set_index("unit_id")["status"].astype(str).eq("kept")
    before = other.frame["unit_id"].map(kept)
    after = (other.frame["status"] == "kept").to_numpy()
    moved = before.notna().to_numpy() & (before.eq(True).to_numpy(dtype=bool) != after)
    return [int(at) for at in np.flatnonzero(moved & other.frame["made"].to_numpy(dtype=bool))]
