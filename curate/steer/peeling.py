"""Boxes that hold more and more of the good: the peeling and pasting of PRIM (Friedman and Fisher, Bump hunting in
high-dimensional data, Statistics and Computing 9, 1999).

Peeling cuts, again and again, the thin slice off one side in which the share of bad ones is highest. Pasting then gives
back to each box what it can have without taking in one more bad one.
"""

from __future__ import annotations

import numpy as np

from curate.steer.sides import Bools, Floats, inside

SLICE = 0.03
"""Share of what is inside that one peel takes away."""
DOUBT = 4.0
"""Slices are small, so the share of bad in one is drawn towards the overall share as if so many more were in it."""


def peel(values: Floats, good: Bools, *, fewest: int) -> list[Floats]:
    """Thresholds (S,) of boxes from all-embracing to strict, for N labelled units with ``values`` (N, S).

    Ends when no bad one is left inside or fewer than ``fewest`` units are.
    """
    thresholds = np.full(values.shape[1], -np.inf)
    boxes = [thresholds]
    while True:
        within = inside(values, thresholds)
        bad = int((within & ~good).sum())
        if bad == 0 or within.sum() <= fewest:
            return boxes
        cuts = [_slice(values[within, side], good[within]) for side in range(values.shape[1])]
        best = max((cut for cut in cuts if cut), default=None)
        if best is None:
            return boxes
        side = cuts.index(best)
        thresholds = thresholds.copy()
        thresholds[side] = best[1]
        boxes.append(thresholds)


def _slice(values: Floats, good: Bools) -> tuple[float, float] | None:
    """(share of bad in the lowest slice, threshold above it); None when the side cannot be cut."""
    finite = np.sort(values[np.isfinite(values)])
    place = max(1, round(SLICE * len(values)))
    if len(finite) < place:
        return None
    last = finite[place - 1]
    above = finite[finite > last]
    threshold = float((last + above[0]) / 2) if len(above) else float(np.nextafter(last, np.inf))
    cut = values < threshold
    if cut.all():
        return None
    prior = float((~good).mean())
    return (float((cut & ~good).sum()) + DOUBT * prior) / (float(cut.sum()) + DOUBT), threshold


def paste(values: Floats, good: Bools, thresholds: Floats) -> Floats:
    """The box, each side in turn loosened to half-way before the first bad one that it would let in."""
    pasted = thresholds.copy()
    fails = values < pasted
    count = fails.sum(axis=1) + np.where((values > -np.inf).all(axis=1), 0, values.shape[1] + 1)
    for side in range(values.shape[1]):
        alone = fails[:, side] & (count == 1)  # outside by this side and by no other
        bad = values[alone & ~good, side]
        if len(bad):
            first = bad.max()
            within = values[(count - fails[:, side] == 0) & (values[:, side] > first), side]
            loose = (first + within.min()) / 2 if len(within) else np.nextafter(first, np.inf)
            pasted[side] = min(pasted[side], loose)
        else:
            pasted[side] = -np.inf
        now = values[:, side] < pasted[side]
        count += now.astype(np.int64) - fails[:, side]
        fails[:, side] = now
    return pasted
