"""Rules: thresholds on scores. Scorers give numbers, rules decide, and changing a rule costs no GPU.

The first broken rule in the order of the config gives the reason. A number out of bounds outweighs a missing number,
whatever their order: so a unit that a cascade spared the dear scorer keeps the reason for which it was spared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import model_validator

from curate.config import StrictModel
from curate.interfaces import Layout

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


class RuleConfig(StrictModel):
    """A score column and the bounds that a kept unit must be within (both ends inclusive)."""

    column: str
    min: float | None = None
    max: float | None = None
    reason: str = ""
    """What the index says of a unit that breaks it; by default "<column> too low" or "<column> too high"."""
    layout: Layout | None = None
    """Judge only units of this layout."""
    missing: Literal["reject", "ignore", "fail"] = "reject"
    """Of a unit whose number is NaN or absent: rejected as "<column> missing", passed, or counted as failed."""

    @model_validator(mode="after")
    def _has_bounds(self) -> RuleConfig:
        if self.min is None and self.max is None:
            raise ValueError(f"a rule on {self.column} needs min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"nothing passes a rule on {self.column} with min {self.min} above max {self.max}")
        return self

    @property
    def label(self) -> str:
        """The rule in words, as in ``csd.style_stylized >= 0.5 [shifted]``: names its column of margins."""
        bounds = [f"{sign} {bound:g}" for sign, bound in ((">=", self.min), ("<=", self.max)) if bound is not None]
        return f"{self.column} {' and '.join(bounds)}" + (f" [{self.layout}]" if self.layout else "")

    def reason_for(self, which: Literal["low", "high", "missing"]) -> str:
        """The reason that goes into the index."""
        if which == "missing":
            return f"{self.column} missing"
        return self.reason or f"{self.column} too {which}"


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What the rules say of N units; near-duplicates and the split are judged after them."""

    table: pd.DataFrame
    """Indexed by unit_id: ``verdict`` (pass, rejected, failed), ``reason``, and ``column`` of the deciding rule."""
    margins: pd.DataFrame
    """Indexed by unit_id, a float64 column a rule (its ``label``): distance to the nearer bound, below 0 = broken,
    NaN = no number or another layout."""


def decide(frame: pd.DataFrame, rules: Sequence[RuleConfig]) -> Verdicts:
    """Judge units by their scores. ``frame``: indexed by unit_id, score columns, and ``layout`` if a rule asks."""
    n = len(frame)
    verdict, reason, column = (np.full(n, value, dtype=object) for value in ("pass", "", ""))
    margins: dict[str, Floats] = {}
    measured = [_Measured(frame, rule) for rule in rules]
    for m in measured:
        margins[m.rule.label] = m.margin
        for which, hit in (("low", m.low), ("high", m.high)):
            mask = hit & (verdict == "pass")
            verdict[mask], column[mask] = "rejected", m.rule.column
            reason[mask] = m.rule.reason_for("low" if which == "low" else "high")
    for m in measured:
        if m.rule.missing != "ignore":
            mask = m.missing & (verdict == "pass")
            verdict[mask] = "failed" if m.rule.missing == "fail" else "rejected"
            reason[mask], column[mask] = m.rule.reason_for("missing"), m.rule.column
    table = pd.DataFrame({"verdict": verdict, "reason": reason, "column": column}, index=frame.index)
    return Verdicts(table=table, margins=pd.DataFrame(margins, index=frame.index))


def broken_units(frame: pd.DataFrame, rules: Sequence[RuleConfig]) -> set[str]:
    """Units already out of bounds by numbers that are known: a cascade may skip them.

    Columns that are not there yet and missing numbers break nothing here.
    """
    broken = np.zeros(len(frame), dtype=bool)
    for rule in rules:
        if rule.column in frame.columns:
            m = _Measured(frame, rule)
            broken |= m.low | m.high
    return set(frame.index[broken])


class _Measured:
    """A rule's column held against its bounds: (N,) masks ``low``, ``high``, ``missing``, and the ``margin``."""

    def __init__(self, frame: pd.DataFrame, rule: RuleConfig) -> None:
        self.rule = rule
        applies: Bools = np.ones(len(frame), dtype=bool)
        if rule.layout is not None:
            applies = (frame["layout"] == rule.layout).to_numpy(dtype=bool)
        values: Floats = np.full(len(frame), np.nan)
        whole = False
        if rule.column in frame.columns:
            series = frame[rule.column]
            whole = pd.api.types.is_integer_dtype(series.dtype)
            values = series.to_numpy(dtype=np.float64, na_value=np.nan)
        # Scores are float32 and a float32 0.3 is 0.30000001: values (which a caller may hold as float64) and bounds are
        # both rounded, so a score equal to its bound passes, in a cascade as in the seal
        if not whole:
            values = values.astype(np.float32).astype(np.float64)
        low, high = (b if b is None or whole else float(np.float32(b)) for b in (rule.min, rule.max))
        to_low: Floats = values - (-np.inf if low is None else low)
        to_high: Floats = (np.inf if high is None else high) - values
        self.margin: Floats = np.where(applies, np.minimum(to_low, to_high), np.nan)
        self.low: Bools = applies & (to_low < 0)
        self.high: Bools = applies & (to_high < 0)
        self.missing: Bools = applies & np.isnan(values)
