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
Places = npt.NDArray[np.int16]
Breach = Literal["low", "high", "missing"]


class RuleConfig(StrictModel):
    """A score column and the bounds that a kept unit must be within (both ends inclusive)."""

    column: str
    """``<scorer>.<what>.<pair>``, as the scorer's own text names them."""
    min: float | None = None
    """Less is rejected."""
    max: float | None = None
    """More is rejected."""
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

    def reason_for(self, which: Breach) -> str:
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


@dataclass(frozen=True, slots=True)
class Broken:
    """(N,) positions of the first rule that a unit breaks, -1 = none. At most one of ``low`` and ``high`` is set, and
    ``missing`` only where neither is: a number out of bounds outweighs a missing one."""

    low: Places
    high: Places
    missing: Places

    @property
    def out_of_bounds(self) -> Bools:
        """(N,) by a number that is known."""
        out: Bools = (self.low >= 0) | (self.high >= 0)
        return out


def first_broken(numbers: Numbers, rules: Sequence[RuleConfig]) -> Broken:
    """What decides on N units, by their score columns, and by ``layout`` if a rule asks."""
    return _first([_Measured(numbers, rule) for rule in rules], len(numbers.frame))


def _first(measured: Sequence[_Measured], n: int) -> Broken:
    low, high, missing = (np.full(n, -1, dtype=np.int16) for _ in range(3))
    free = np.ones(n, dtype=bool)
    for i, m in enumerate(measured):
        low[free & m.low], high[free & m.high] = i, i
        free &= ~(m.low | m.high)
    for i, m in enumerate(measured):
        if m.rule.missing != "ignore":
            missing[free & m.missing] = i
            free &= ~m.missing
    return Broken(low, high, missing)


def decide(frame: pd.DataFrame, rules: Sequence[RuleConfig]) -> Verdicts:
    """Judge units by their scores. ``frame``: indexed by unit_id, score columns, and ``layout`` if a rule asks."""
    numbers = Numbers(frame)
    measured = [_Measured(numbers, rule) for rule in rules]
    broken = _first(measured, len(frame))
    verdict, reason, column = (np.full(len(frame), value, dtype=object) for value in ("pass", "", ""))
    for i, rule in enumerate(rules):
        breaches: tuple[tuple[Breach, Bools], ...] = (("low", broken.low == i), ("high", broken.high == i),
                                                      ("missing", broken.missing == i))
        for which, mask in breaches:
            verdict[mask] = "failed" if which == "missing" and rule.missing == "fail" else "rejected"
            reason[mask], column[mask] = rule.reason_for(which), rule.column
    table = pd.DataFrame({"verdict": verdict, "reason": reason, "column": column}, index=frame.index)
    return Verdicts(table=table, margins=pd.DataFrame({m.rule.label: m.margin for m in measured}, index=frame.index))


def broken_units(frame: pd.DataFrame, rules: Sequence[RuleConfig]) -> Bools:
    """(N,) units already out of bounds by numbers that are known: a cascade may skip them.

    Columns that are not there yet and missing numbers break nothing here.
    """
    broken = np.zeros(len(frame), dtype=bool)
    for rule in rules:
        if rule.column in frame.columns:
            m = _Measured(Numbers(frame), rule)
            broken |= m.low | m.high
    return broken


class Numbers:
    """Score columns as the rules compare them, each prepared once."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self.frame = frame
        self._columns: dict[str, tuple[Floats, Bools]] = {}

    def column(self, name: str) -> tuple[Floats, Bools]:
        """(N,) values and where they are missing; all are missing in a column that is not there.

        Scores are float32 and a float32 0.3 is 0.30000001: values (which a caller may hold as float64) and bounds are
        both rounded, so a score equal to its bound passes, in a cascade as in the seal.
        """
        if name not in self._columns:
            values: Floats = np.full(len(self.frame), np.nan)
            if name in self.frame.columns:
                values = self.frame[name].to_numpy(dtype=np.float64, na_value=np.nan)
                values = values if self.is_whole(name) else values.astype(np.float32).astype(np.float64)
            self._columns[name] = values, np.isnan(values)
        return self._columns[name]

    def is_whole(self, name: str) -> bool:
        """Whether the column holds integers."""
        return name in self.frame.columns and pd.api.types.is_integer_dtype(self.frame[name].dtype)


class _Measured:
    """A rule's column held against its bounds: (N,) masks ``low``, ``high`` and ``missing``."""

    def __init__(self, numbers: Numbers, rule: RuleConfig) -> None:
        self.rule = rule
        self._values, missing = numbers.column(rule.column)
        whole = numbers.is_whole(rule.column)
        low, high = (b if b is None or whole else float(np.float32(b)) for b in (rule.min, rule.max))
        self._bounds = -np.inf if low is None else low, np.inf if high is None else high
        self._applies: Bools | None = None
        if rule.layout is not None:
            self._applies = (numbers.frame["layout"] == rule.layout).to_numpy(dtype=bool)
        self.low = self._of_layout(self._values < self._bounds[0])
        self.high = self._of_layout(self._values > self._bounds[1])
        self.missing = self._of_layout(missing)

    def _of_layout(self, mask: Bools) -> Bools:
        return mask if self._applies is None else mask & self._applies

    @property
    def margin(self) -> Floats:
        """(N,) distance to the nearer bound; NaN = no number or another layout."""
        nearer: Floats = np.minimum(self._values - self._bounds[0], self._bounds[1] - self._values)
        return nearer if self._applies is None else np.where(self._applies, nearer, np.nan)
