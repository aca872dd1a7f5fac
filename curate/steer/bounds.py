"""Exact bounds for a precision that was counted on a few labels: Clopper and Pearson, Biometrika 26 (1934)."""

from __future__ import annotations

import math

from scipy.stats import beta, binom


def lower_bound(good: int, n: int, confidence: float) -> float:
    """With this confidence the true share of good ones is at least so much; 0 when nothing was counted."""
    return float(beta.ppf(1 - confidence, good, n - good + 1)) if good else 0.0


def most_bad(n: int, wanted: float, confidence: float) -> int:
    """How many of n labels may be bad so that the lower bound is at least ``wanted``; -1 when not even none may."""
    bad = max(0, int(binom.ppf(1 - confidence, n, 1 - wanted))) + 1
    while bad >= 0 and lower_bound(n - bad, n, confidence) < wanted:
        bad -= 1
    return bad


def interval(good: int, n: int, confidence: float) -> tuple[float, float]:
    """Two-sided: half of what is left over on either side."""
    tail = (1 - confidence) / 2
    low = float(beta.ppf(tail, good, n - good + 1)) if good else 0.0
    high = float(beta.ppf(1 - tail, good + 1, n - good)) if good < n else 1.0
    return low, high


def labels_needed(share: float, wanted: float, confidence: float, *, power: float = 0.8) -> int | None:
    """How many labels show, with a chance of ``power``, that a precision of ``share`` is at least ``wanted``; None =
    never. With none bad that is log(1 - confidence) / log(wanted): 59 for 0.95 at 95 %.
    """
    if share <= wanted:
        return None

    def enough(n: int) -> bool:
        good = int(binom.ppf(1 - power, n, share))  # so many or more, with the chance
        return lower_bound(good, n, confidence) >= wanted

    high = math.ceil(math.log(1 - confidence) / math.log(wanted))
    while not enough(high):
        high *= 2
        if high > 10**8:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
