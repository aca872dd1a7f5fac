"""From labels to thresholds that keep a promise: of what they keep, at least so many are good, with a confidence.

Whoever picks the best of many thresholds on some labels and then counts the good on the same labels fools himself: the
best looks better than it is, and no bound on that count is valid. So the labels are parted by a hash of their ids, two
fifths to search and three fifths to test:

* The *searching part* proposes: nested boxes found by peeling (``peeling``), put in one order, beginning with the
  box that is most surely good enough and going on to ever higher yield.
* The *testing part* decides: the boxes are tested in that order, each by the exact binomial test at level
  1 - confidence (equally: its Clopper-Pearson lower bound is at least the precision), until the first one fails; the
  last one that passed is the answer. The order was fixed without these labels, so testing many boxes needs no
  correction: a wrong answer takes a false rejection of the first box in it that is not good enough, whose probability
  is at most 1 - confidence (fixed-sequence testing; as used for such choices in Angelopoulos et al., Learn then Test,
  arXiv 2110.01052, and with such orders in Laufer-Goldshlager et al., arXiv 2210.07913).

What has to hold: labelled units are a fair sample of those that were made (the label page's order is one), and the
labels are right. The precision is that of what the rules keep, before near-duplicates and the split take some away.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import isotonic_regression
from scipy.stats import binom

from curate.steer.bounds import interval, labels_needed, lower_bound, most_bad
from curate.steer.peeling import peel
from curate.steer.sides import Bools, Floats, inside, rounded

SEARCHING = 0.4
"""Share of the labels that propose."""
FOLDS = 5
MOST = 20_000
"""Units of the population on which yields are compared."""
WORTH = 0.1
"""Boxes of a smaller share are not worth more labels."""
FEWEST = 10
"""Boxes that hold no more labels of the searching part say nothing."""


@dataclass(frozen=True, slots=True)
class Count:
    """Good ones among the labelled that are kept."""

    good: int
    n: int

    @property
    def share(self) -> float:
        """NaN when there are none."""
        return self.good / self.n if self.n else float("nan")


@dataclass(frozen=True, slots=True)
class Found:
    """What the labels give."""

    thresholds: Floats | None
    """(S,) of the box with the highest yield that passed; None when none did."""
    tested: Count
    """On the testing part: of the box that passed, else of the first in the order."""
    bound: float
    """Lower bound of its precision at the confidence."""
    more_labels: int | None
    """When none passed: about so many more labels, of all triplets that were made, will do; None = however many: for
    each box that keeps a share of ``WORTH`` the interval of its precision, on the searching part and on the testing
    part, ends below what is asked for. With fewer labels than show boxes so strict, those are what lacks."""
    boxes: int
    """How many boxes were in the order."""


def find_thresholds(values: Floats, good: Bools, searching: Bools, population: Floats, *, precision: float,
                    confidence: float, floor: Floats | None = None) -> Found:
    """``values`` (N, S), ``good`` and ``searching`` (N,) of labelled units; ``population`` (M, S): all made units.

    Yield is counted on the population, labelled or not: it costs no label. ``floor`` (S,): no threshold goes below it.
    """
    floor = np.full(values.shape[1], -np.inf) if floor is None else floor
    some = population[::max(1, len(population) // MOST)]
    boxes, seem, surest = propose(values[searching], good[searching], some, int((~searching).sum()),
                                  precision=precision, confidence=confidence, floor=floor)
    order = boxes[surest::-1]
    testing, truth = values[~searching], good[~searching]
    passed: tuple[Floats, Count] | None = None
    first = Count(0, 0)
    for i, box in enumerate(order):
        count = counted(testing, truth, box)
        first = count if i == 0 else first
        if lower_bound(count.good, count.n, confidence) < precision:
            break
        passed = box, count
    if passed:
        box, count = passed
        return Found(box, count, lower_bound(count.good, count.n, confidence), 0, len(order))
    tested = float((~searching).mean()) or 0.5
    searched = int(searching.sum())
    lacking: list[int] = []
    for box, one in zip(boxes, seem, strict=True):
        for count, among in ((one, searched), (counted(testing, truth, box), len(truth))):
            more = _more(count, len(good), among, tested, precision, confidence)
            if one.n >= WORTH * searched and more is not None:
                lacking.append(more)
                break
    if not lacking and searched < FEWEST / WORTH:
        lacking = [max(1, int(np.ceil(FEWEST / WORTH / SEARCHING)) - len(good))]
    more = min(lacking, default=None)
    return Found(None, first, lower_bound(first.good, first.n, confidence), more, len(order))


def propose(values: Floats, good: Bools, population: Floats, tests: int, *, precision: float, confidence: float,
            floor: Floats) -> tuple[list[Floats], list[Count], int]:
    """Boxes from loose to strict, how good they seem, and the place of the one to test first (then come the looser
    ones; see the module).

    That is the box that is least likely to fail: strict boxes hold fewer of the ``tests`` labels that will test
    them, loose ones fewer good. Boxes look better than they are on the labels that they were fitted to, so how good
    they are is estimated by cross-validation (``_levels``).
    """
    boxes = [np.maximum(rounded(box), floor) for box in peel(values, good, fewest=FEWEST, floor=floor)]
    yields = _yields(boxes, population)
    levels, truth = _levels(values, good, population, floor)
    seem = [_seems(levels, truth, share) for share in yields]
    risks = [_risk(one, round(share * tests), precision, confidence) for one, share in zip(seem, yields, strict=True)]
    return boxes, seem, int(np.argmin(risks))


def _yields(boxes: list[Floats], population: Floats) -> list[float]:
    return [float(inside(population, box).mean()) for box in boxes]


def _levels(values: Floats, good: Bools, population: Floats, floor: Floats) -> tuple[Floats, Floats]:
    """(N,) the yield of the strictest box that holds each unit, rising, and how likely units of that level are good.

    Boxes come of ``FOLDS`` - 1 parts of the labels and are asked about the other part. The likelihood is fitted to fall
    with the level (isotonic regression), which takes out most of the noise.
    """
    levels = np.full(len(good), 2.0)
    fold_of = np.arange(len(good)) % FOLDS
    for fold in range(FOLDS):
        mine = np.flatnonzero(fold_of == fold)
        others = fold_of != fold
        boxes = peel(values[others], good[others], fewest=FEWEST, floor=floor)
        for box, share in zip(boxes, _yields(boxes, population), strict=True):  # from loose to strict
            levels[mine[inside(values[mine], box)]] = share
    order = np.argsort(levels, kind="stable")
    fitted: Floats = isotonic_regression(good[order].astype(np.float64), increasing=False).x
    return levels[order], fitted


def _seems(levels: Floats, likely: Floats, share: float) -> Count:
    """What a box of this yield would keep of the labels."""
    n = int(np.searchsorted(levels, share, side="right"))
    return Count(round(float(likely[:n].sum())), n)


def _risk(seems: Count, tests: int, precision: float, confidence: float) -> float:
    """That a box fails on so many labels, as good as it ``seems`` (by its posterior mean under a flat prior)."""
    bad = 1 - (seems.good + 1) / (seems.n + 2)
    return float(binom.sf(most_bad(tests, precision, confidence), tests, bad))


def counted(values: Floats, good: Bools, box: Floats) -> Count:
    """The labelled units inside."""
    within = inside(values, box)
    return Count(int((within & good).sum()), int(within.sum()))


def _more(seems: Count, num_labels: int, searched: int, tested: float, precision: float, confidence: float,
          ) -> int | None:
    """Labels that are lacking for a box if all goes on as it ``seems`` by ``searched`` labels; ``tested``: share of
    labels in the testing part.

    Where it may seem too bad by chance: as if the truth lay half-way from the precision to 1. None when it is surely
    too bad. At least a quarter of those that there are: they failed, so a few more are no other attempt.
    """
    if seems.n and interval(seems.good, seems.n, confidence)[1] < precision:
        return None
    share = max((seems.good + 0.5) / (seems.n + 1), (1 + precision) / 2)
    needed = labels_needed(share, precision, confidence)
    kept = seems.n / searched if seems.n else 0.5
    return None if needed is None else max(num_labels // 4 + 1, int(np.ceil(needed / (tested * kept))) - num_labels)
