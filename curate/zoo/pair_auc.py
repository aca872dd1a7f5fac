"""How well a number tells two groups apart, and which bound to draw between them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]


def auc(high: Floats, low: Floats) -> float:
    """Chance that a member of ``high`` has the greater number; ties count half, NaNs are left out."""
    high, low = high[np.isfinite(high)], low[np.isfinite(low)]
    if not len(high) or not len(low):
        return float("nan")
    values = np.concatenate([high, low])
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    rank = (np.cumsum(counts) - (counts - 1) / 2)[inverse]  # mean rank among ties, from 1
    return float((rank[: len(high)].sum() - len(high) * (len(high) + 1) / 2) / (len(high) * len(low)))


def pair_auc(similarity: Floats, same: npt.NDArray[np.bool_], counted: npt.NDArray[np.bool_]) -> float:
    """AUC of ``similarity`` of same against other pairs i < j among the ``counted``; all (N, N)."""
    upper = np.triu_indices(len(similarity), 1)
    values, same, counted = similarity[upper], same[upper], counted[upper]
    return auc(values[counted & same], values[counted & ~same])


def best_bound(good: Floats, bad: Floats) -> float:
    """The bound with the most of one group on one side and of the other on the other: Youden's J."""
    good, bad = np.sort(good[np.isfinite(good)]), np.sort(bad[np.isfinite(bad)])
    bounds = np.unique(np.concatenate([good, bad]))
    above_good = 1 - np.searchsorted(good, bounds) / len(good)
    above_bad = 1 - np.searchsorted(bad, bounds) / len(bad)
    return float(bounds[np.argmax(np.abs(above_good - above_bad))])
