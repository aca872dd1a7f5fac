"""Boxes that hold more and more of the good: the peeling of PRIM (Friedman and Fisher, Bump hunting in high-dimensional
data, Statistics and Computing 9, 1999).

Peeling cuts, again and again, the thin slice off one side in which the share of bad ones is highest. PRIM's second
part, pasting back what costs nothing, is left out: on emoji truth it fitted boxes to the labels and made them worse on
others (precision at a yield of 40 %, from 500 labels: 0.948 with it, 0.962 without; from 4,000 no difference).
"""

from __future__ import annotations

import numpy as np

from curate.steer.sides import Bools, Floats, inside

SLICE = 0.05
"""Share of what is inside that one peel takes away. Thinner slices hold too few labels to choose between sides."""
STEPS = 4
"""Boxes on the way from one peel to the next: the choice is made by slices, a threshold can stand in between."""


def peel(values: Floats, good: Bools, *, fewest: int, floor: Floats) -> list[Floats]:
    """Thresholds (S,) of nested boxes from ``floor`` (the loosest that is allowed) to strict, for N labelled units with
    ``values`` (N, S).

    Ends when no bad one is left inside or no more than ``fewest`` units are.
    """
    boxes = [floor]
    while True:
        within = inside(values, boxes[-1])
        if not (within & ~good).any() or within.sum() <= fewest:
            return boxes
        cuts = [_slice(values[within, side], good[within]) for side in range(values.shape[1])]
        best = max((cut for cut in cuts if cut), default=None, key=lambda cut: cut[0])
        if best is None:
            return boxes
        for threshold in best[1]:
            box = boxes[-1].copy()
            box[cuts.index(best)] = threshold
            boxes.append(box)


def _slice(values: Floats, good: Bools) -> tuple[float, list[float]] | None:
    """Share of bad ones in the lowest slice, and rising thresholds up to the one above it; None when the side cannot be
    cut, or only to nothing."""
    finite = np.sort(values[np.isfinite(values)])
    size = max(1, round(SLICE * len(values)))
    if len(finite) < size:
        return None
    places = sorted({max(1, round(size * step / STEPS)) for step in range(1, STEPS + 1)})
    thresholds = sorted({_above(finite, float(finite[place - 1])) for place in places})
    cut = values < thresholds[-1]
    return None if cut.all() else (float((~good[cut]).mean()), thresholds)


def _above(ordered: Floats, value: float) -> float:
    """Half-way to the next greater number."""
    rest = ordered[np.searchsorted(ordered, value, side="right"):]
    return float((value + rest[0]) / 2) if len(rest) else float(np.nextafter(value, np.inf))
