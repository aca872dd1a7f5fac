"""A measured number beside what it must be read against: no-op, truth, chance, bar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Figure:
    """One measured number. `bar` is None where the number only informs; `noop`, `truth` and `chance` are
    None where they say nothing."""

    name: str
    value: float
    noop: float | None = None
    truth: float | None = None
    chance: float | None = None
    bar: float | None = None
    at_most: bool = False

    @property
    def met(self) -> bool | None:
        """Whether the bar is met."""
        if self.bar is None:
            return None
        return self.value <= self.bar if self.at_most else self.value >= self.bar


def format_figures(figures: Sequence[Figure]) -> str:
    """A Markdown table."""
    lines = ["| figure | value | no-op | truth | chance | bar | |", "|---|---|---|---|---|---|---|"]
    for figure in figures:
        bar = "" if figure.bar is None else f"{'<=' if figure.at_most else '>='} {figure.bar:.3g}"
        verdict = {None: "", True: "met", False: "MISSED"}[figure.met]
        cells = [_cell(figure.value), _cell(figure.noop), _cell(figure.truth), _cell(figure.chance), bar, verdict]
        lines.append(f"| {figure.name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def as_dict(figures: Sequence[Figure]) -> dict[str, dict[str, object]]:
    """For JSON: name -> the figure's values and whether its bar is met."""
    return {figure.name: {**asdict(figure), "met": figure.met} for figure in figures}


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
