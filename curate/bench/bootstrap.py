"""Percentile bootstrap over subjects (Efron 1979; the cluster bootstrap of Davison and Hinkley 1997, section 3.8).

Images of one subject are alike, so resampling images would give intervals that are too narrow: whole subjects are drawn
with their images. The mean is over images, as published tables have it: a subject with more images weighs more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

RESAMPLES: Final = 2000
LEVEL: Final = 0.95


class Interval(NamedTuple):
    """A mean and its 95 % interval; ``low`` and ``high`` are None with fewer than two subjects."""

    value: float
    low: float | None
    high: float | None
    num_images: int
    num_subjects: int

    @property
    def above_zero(self) -> bool:
        """The whole interval is above zero."""
        return self.low is not None and self.low > 0

    @property
    def below_zero(self) -> bool:
        """The whole interval is below zero."""
        return self.high is not None and self.high < 0


def bootstrap(values: NDArray[np.floating[Any]], subjects: Sequence[str], *, seed: int, resamples: int = RESAMPLES,
              ) -> Interval | None:
    """The interval of the mean of ``values`` (N,), NaN left out; None where no value is left."""
    kept = np.isfinite(values)
    if not kept.any():
        return None
    numbers = values[kept].astype(np.float64)
    names, cluster = np.unique([name for name, keep in zip(subjects, kept.tolist(), strict=True) if keep],
                               return_inverse=True)
    mean, count = float(numbers.mean()), len(names)
    if count < 2:
        return Interval(mean, None, None, len(numbers), count)
    sums, sizes = np.bincount(cluster, weights=numbers), np.bincount(cluster)
    drawn = np.random.default_rng(seed).integers(count, size=(resamples, count))
    means = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(means, [tail, 1 - tail]).tolist()
    return Interval(mean, low, high, len(numbers), count)


def bootstrap_difference(first: NDArray[np.floating[Any]], second: NDArray[np.floating[Any]], subjects: Sequence[str],
                         *, seed: int, resamples: int = RESAMPLES) -> Interval | None:
    """The interval of the mean of ``first - second``, both (N,) over the same items: pairs, so what makes an item hard
    for both drops out. Items that either lacks (NaN) are left out."""
    return bootstrap(first - second, subjects, seed=seed, resamples=resamples)
