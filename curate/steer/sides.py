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
        """Each rule with these thresholds; None for one none of whose bounds holds anything back."""
        found: list[RuleConfig | None] = []
        for i, rule in enumerate(self.rules):
            mine = {sign: sign * float(t) for (of, sign), t in zip(self.sides, thresholds, strict=True)
                    if of == i and np.isfinite(t)}
            changes = {"min": _short(mine.get(1)), "max": _short(mine.get(-1))}
            found.append(RuleConfig.model_validate({**rule.model_dump(), **changes}) if mine else None)
        return found


def _short(bound: float | None) -> float | None:
    return None if bound is None else float(f"{bound:.{DIGITS}g}")


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
