"""From labels to thresholds that keep a promise: of what they keep, at least so many are good, with a confidence.

Whoever picks the best of many thresholds on some labels and then counts the good on the same labels fools himself: the
best looks better than it is, and no bound on that count is valid. So the labels are cut in two by a hash of their ids:

* The *searching half* proposes: boxes found by peeling and pasting (``peeling``), put in one order, beginning with the
  box that is most surely good enough and going on to ever higher yield.
* The *testing half* decides: the boxes are tested in that order, each by the exact binomial test at level
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

from curate.steer.bounds import interval, labels_needed, lower_bound
from curate.steer.peeling import paste, peel
from curate.steer.sides import Bools, Floats, inside, rounded

FOLDS = 3
MOST = 20_000
"""Units of the population on which yields are compared."""
FEWEST = 10
"""A box with fewer labels of the searching half says nothing."""


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
    """On the testing half: of the box that passed, else of the first in the order."""
    bound: float
    """Lower bound of its precision at the confidence."""
    more_labels: int | None
    """When none passed: about so many more labels, of all triplets that were made, will do; None = however many, for
    these columns surely do not reach the precision."""
    boxes: int
    """How many boxes were in the order."""


def find_thresholds(values: Floats, good: Bools, searching: Bools, population: Floats, *, precision: float,
                    confidence: float) -> Found:
    """``values`` (N, S), ``good`` and ``searching`` (N,) of labelled units; ``population`` (M, S): all made units.

    Yield is counted on the population, labelled or not: it costs no label.
    """
    some = population[::max(1, len(population) // MOST)]
    order, seems = propose(values[searching], good[searching], some, precision=precision)
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
    both = Count(seems.good + first.good, seems.n + first.n)
    more = _more(both, len(good), (~searching).mean(), precision, confidence)
    return Found(None, first, lower_bound(first.good, first.n, confidence), more, len(order))


def propose(values: Floats, good: Bools, population: Floats, *, precision: float) -> tuple[list[Floats], Count]:
    """Boxes in the order in which they are to be tested (see the module), and how good the first of them seems.

    Boxes that were fitted to labels look better on them than they are, and a first box that is too loose ends the tests
    before they begin. So the first one is chosen by cross-validation: on each of ``FOLDS`` parts of the labels, boxes
    of about the same yield are counted that were found on the other parts.
    """
    boxes = _found(values, good)
    yields = _yields(boxes, population)
    counts = [counted(values, good, box) for box in boxes]
    best, front = -1.0, []
    for i in sorted(range(len(boxes)), key=lambda i: (-yields[i], -counts[i].share)):
        if counts[i].share > best:  # of a higher yield there is none as good
            best = counts[i].share
            front.append(i)
    if not front:
        return [], Count(0, 0)
    honest = _cross_validated(values, good, population, [yields[i] for i in front])
    evidence = [_evidence(count, precision) for count in honest]
    smooth = [float(np.mean(evidence[max(0, i - 1):i + 2])) for i in range(len(front))]  # neighbours are nearly equal
    surest = int(np.argmax(smooth))
    return [boxes[i] for i in reversed(front[:surest + 1])], honest[surest]


def _found(values: Floats, good: Bools) -> list[Floats]:
    boxes = [rounded(paste(values, good, box)) for box in peel(values, good, fewest=FEWEST)]
    return [box for box in boxes if inside(values, box).sum() >= FEWEST]


def _yields(boxes: list[Floats], population: Floats) -> list[float]:
    return [float(inside(population, box).mean()) for box in boxes]


def _cross_validated(values: Floats, good: Bools, population: Floats, wanted: list[float]) -> list[Count]:
    """For each wanted yield, good ones among the kept when none of them had a say in the box."""
    fold_of = np.arange(len(good)) % FOLDS
    totals = np.zeros((len(wanted), 2), dtype=np.int64)
    for fold in range(FOLDS):
        mine = fold_of == fold
        boxes = _found(values[~mine], good[~mine])
        if not boxes:
            continue
        yields = np.array(_yields(boxes, population))
        for i, share in enumerate(wanted):
            count = counted(values[mine], good[mine], boxes[int(np.abs(yields - share).argmin())])
            totals[i] += count.good, count.n
    return [Count(int(right), int(n)) for right, n in totals]


def _evidence(count: Count, precision: float) -> float:
    """How surely a test will pass: the share's distance from the precision, in standard errors of the precision."""
    return float((count.share - precision) * np.sqrt(count.n / (precision * (1 - precision)))) if count.n else -np.inf


def counted(values: Floats, good: Bools, box: Floats) -> Count:
    """The labelled units inside."""
    within = inside(values, box)
    return Count(int((within & good).sum()), int(within.sum()))


def _more(seems: Count, num_labels: int, tested: float, precision: float, confidence: float) -> int | None:
    """Labels that are lacking if all goes on as it ``seems``; ``tested``: share of labels in the testing half.

    Where it may seem too bad by chance: as if the truth lay half-way from the precision to 1. None when it is surely
    too bad.
    """
    if not seems.n or interval(seems.good, seems.n, confidence)[1] < precision:
        return None
    share = max((seems.good + 0.5) / (seems.n + 1), (1 + precision) / 2)
    needed = labels_needed(share, precision, confidence)
    return None if needed is None else max(1, int(np.ceil(needed * num_labels / (tested * seems.n))) - num_labels)
