"""Percentile bootstrap over subjects, and over styles where they are crossed with these.

Efron 1979; the cluster bootstrap of Davison and Hinkley 1997, section 3.8.

Images of one subject are alike, so resampling images would give intervals that are too narrow: whole subjects are drawn
with their images. The mean is over images, as published tables have it: a subject with more images weighs more.

Where every content meets the same styles, as in USO-Bench, images of one style are alike too. Then styles are drawn as
well, apart from the subjects, and an image counts as often as its subject times its style came up (the pigeonhole
bootstrap: Owen, Annals of Applied Statistics 2007). Its intervals are wider than need be where single images vary more
than subjects and styles, and, as any bootstrap's, too narrow with few of these (``benchmarks/intervals.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

RESAMPLES: Final = 2000
LEVEL: Final = 0.95

Values: TypeAlias = NDArray[np.floating[Any]]


class Interval(NamedTuple):
    """A mean and its 95 % interval; ``low`` and ``high`` are None with fewer than two subjects, ``num_styles`` where
    styles were not drawn."""

    value: float
    low: float | None
    high: float | None
    num_images: int
    num_subjects: int
    num_styles: int | None = None

    @property
    def above_zero(self) -> bool:
        """The whole interval is above zero."""
        return self.low is not None and self.low > 0

    @property
    def below_zero(self) -> bool:
        """The whole interval is below zero."""
        return self.high is not None and self.high < 0


def bootstrap(values: Values, subjects: Sequence[str], *, seed: int, resamples: int = RESAMPLES,
              styles: Sequence[str] | None = None) -> Interval | None:
    """The interval of the mean of ``values`` (N,), NaN left out; None where no value is left.

    ``subjects``, ``styles``: what each image shows and in which style; ``styles`` where these are to be drawn too.
    """
    kept = np.isfinite(values)
    if not kept.any():
        return None
    numbers = values[kept].astype(np.float64)
    subject_at, num_subjects = _numbered(subjects, kept)
    style_at, num_styles = _numbered(styles, kept) if styles is not None else (np.zeros_like(subject_at), None)
    mean = float(numbers.mean())
    if num_subjects < 2:
        return Interval(mean, None, None, len(numbers), num_subjects, num_styles)
    sums = np.zeros((num_subjects, num_styles or 1))
    sizes = np.zeros_like(sums)
    np.add.at(sums, (subject_at, style_at), numbers)
    np.add.at(sizes, (subject_at, style_at), 1)
    rng = np.random.default_rng(seed)
    subject_times = _times_drawn(num_subjects, resamples, rng)
    style_times = _times_drawn(num_styles, resamples, rng) if num_styles else np.ones((resamples, 1))
    drawn = ((subject_times @ sizes) * style_times).sum(axis=1)
    means = ((subject_times @ sums) * style_times).sum(axis=1)[drawn > 0] / drawn[drawn > 0]
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(means, [tail, 1 - tail]).tolist()
    return Interval(mean, low, high, len(numbers), num_subjects, num_styles)


def bootstrap_difference(first: Values, second: Values, subjects: Sequence[str], *, seed: int,
                         resamples: int = RESAMPLES, styles: Sequence[str] | None = None) -> Interval | None:
    """The interval of the mean of ``first - second``, both (N,) over the same items: pairs, so what makes an item hard
    for both drops out. Items that either lacks (NaN) are left out."""
    return bootstrap(first - second, subjects, seed=seed, resamples=resamples, styles=styles)


def are_crossed(subjects: Sequence[str], styles: Sequence[str]) -> bool:
    """Whether styles come back with other subjects, twice on average or more, so that they must be drawn too."""
    return len(set(zip(subjects, styles, strict=True))) >= 2 * len(set(styles)) > 2


def _numbered(names: Sequence[str], kept: NDArray[np.bool_]) -> tuple[NDArray[np.intp], int]:
    """A number for each kept name, and how many different ones there are."""
    different, at = np.unique([name for name, keep in zip(names, kept.tolist(), strict=True) if keep],
                              return_inverse=True)
    return at, len(different)


def _times_drawn(count: int, resamples: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """(resamples, count): how often each of ``count`` came up in as many draws with replacement."""
    drawn = rng.integers(count, size=(resamples, count)) + count * np.arange(resamples)[:, None]
    return np.bincount(drawn.ravel(), minlength=resamples * count).reshape(resamples, count).astype(np.float64)
