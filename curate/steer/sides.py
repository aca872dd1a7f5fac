"""The thresholds of a set of rules as one point: each bound of each rule is a side, and all sides point one way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from curate.errors import ConfigError
from curate.seal import RuleConfig

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
DIGITS = 5
"""Significant digits of a threshold that goes into a file. Whatever is measured is measured with the rounded one."""


class Side(NamedTuple):
    """One bound of one rule. A unit is inside when sign * number >= threshold."""

    rule: int
    sign: int
    """1 for ``min``, -1 for ``max``."""


class Sides:
    """Which bounds of ``rules`` may move: those that the rules have."""

    def __init__(self, rules: Sequence[RuleConfig]) -> None:
        self.rules = rules
        self.sides = [Side(i, sign) for i, rule in enumerate(rules)
                      for sign, bound in ((1, rule.min), (-1, rule.max)) if bound is not None]
        if not self.sides:
            raise ConfigError("there are no rules whose thresholds could be set: name columns in --rules, with any min "
                              "or max as a start", key="rules")

    def values(self, frame: pd.DataFrame) -> Floats:
        """(N, S) sign * number. +inf where the rule does not concern the unit, -inf where a missing number rejects."""
        columns = []
        for i, sign in self.sides:
            rule = self.rules[i]
            if rule.column not in frame.columns:
                raise ConfigError(f"no scorer of this run gives {rule.column!r}", key="rules")
            numbers = frame[rule.column].to_numpy(dtype=np.float64, na_value=np.nan).astype(np.float32)
            oriented = sign * numbers.astype(np.float64)
            oriented[np.isnan(oriented)] = np.inf if rule.missing == "ignore" else -np.inf
            if rule.layout is not None:
                oriented[(frame["layout"] != rule.layout).to_numpy(dtype=bool)] = np.inf
            columns.append(oriented)
        return np.asfortranarray(np.stack(columns, axis=1))  # they are compared side by side

    @property
    def now(self) -> Floats:
        """(S,) the thresholds as the rules have them."""
        bounds = [(self.rules[i].min if sign > 0 else self.rules[i].max, sign) for i, sign in self.sides]
        return np.array([float(np.float32(sign * bound)) for bound, sign in bounds if bound is not None])

    def with_thresholds(self, thresholds: Floats) -> list[RuleConfig | None]:
        """Each rule with these thresholds; None for one none of whose bounds holds anything back. A threshold that is
        the rule's own keeps all its digits."""
        found: list[RuleConfig | None] = []
        for i, rule in enumerate(self.rules):
            changes: dict[str, float | None] = {"min": None, "max": None}
            for (of, sign), new, old in zip(self.sides, thresholds.tolist(), self.now.tolist(), strict=True):
                key = "min" if sign > 0 else "max"
                if of == i and np.isfinite(new):
                    changes[key] = getattr(rule, key) if new == old else _short(sign * new)
            moved = {**rule.model_dump(), **changes}
            found.append(RuleConfig.model_validate(moved) if any(b is not None for b in changes.values()) else None)
        return found

    def guarded(self, thresholds: Floats, population: Floats) -> Floats:
        """(S,) the same box, but a side without a threshold whose number some units of ``population`` (M, S) lack gets
        one below all numbers: a rule that is left out would let those pass."""
        found = thresholds.copy()
        for side in np.flatnonzero(np.isneginf(thresholds) & np.isneginf(population).any(axis=0)).tolist():
            numbers = population[np.isfinite(population[:, side]), side]
            lowest = float(numbers.min()) if len(numbers) else 0.0
            found[side] = rounded(np.array([lowest - 1e-3 * max(1.0, abs(lowest))]))[0]
        return found


def _short(bound: float) -> float:
    return float(f"{bound:.{DIGITS}g}")


def rounded(thresholds: Floats) -> Floats:
    """(S,) as a file will hold them and as rules compare them: few digits, then float32."""
    short = [float(f"{t:.{DIGITS}g}") if np.isfinite(t) else t for t in thresholds.tolist()]
    return np.array(short).astype(np.float32).astype(np.float64)


def inside(values: Floats, thresholds: Floats) -> Bools:
    """(N,) kept: all sides hold. A missing number that rejects is outside even of sides without a threshold."""
    within = np.ones(len(values), dtype=bool)
    for side, threshold in enumerate(np.maximum(thresholds, np.finfo(np.float64).min)):
        within &= values[:, side] >= threshold
    return within
