"""Does `curate calibrate` keep its word on emoji ground truth? `python benchmarks/calibration.py [--scores FILE]`

A pool of triplets whose truth is known (70 % good, six faults; curate/zoo/truth_labels.py) is scored by the scorers of
the quick start. 200 times: the pool is cut in two halves at random; some triplets of the first are labelled with the
truth, thresholds for the columns of configs/rules/matrix.yaml come from these labels, and their true precision and
yield from the second half, which the calibration did not see. Beside it stands the highest yield that the same search
finds, every side moved to its best place afterwards, when it knows the truth of the whole pool.
Bars: precision 0.95 is met in >= 95 % of the calibrations, yield within 10 % of the best. The confidence is the default
of the command. Exit code 1 if missed with the largest number of labels.
"""

from __future__ import annotations

import argparse
import sys
from inspect import signature
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from curate.cli import calibrate
from curate.run.config import DEFAULT_CONFIG, load_config
from curate.seal import changed_rules
from curate.steer.peeling import peel
from curate.steer.sides import Sides, inside
from curate.steer.thresholds import FEWEST, SEARCHING, find_thresholds
from curate.zoo.data import load_emoji
from curate.zoo.truth_labels import LabelledTriplet, draw_labelled

SEED = 20_000_033  # no training uses it
PRECISION = 0.95
CONFIDENCE: float = signature(calibrate).parameters["confidence"].default  # that of curate calibrate
MATRIX = Path(__file__).parents[1] / "configs" / "rules" / "matrix.yaml"


def score(pool: list[LabelledTriplet]) -> pd.DataFrame:
    """The columns of the matrix, ``layout``, ``good`` and ``fault``; a row a triplet."""
    config = load_config(DEFAULT_CONFIG)
    ruled = changed_rules({}, MATRIX).columns
    columns: dict[str, np.ndarray] = {}
    triplets = [one.triplet for one in pool]
    for name, scorer in config.scorers.items():
        if ruled.isdisjoint(scorer.columns):
            continue
        call = scorer.load("cpu")
        parts = [call(triplets[at:at + 64]) for at in range(0, len(triplets), 64)]
        columns |= {column: np.concatenate([part[column] for part in parts]) for column in scorer.columns}
        print(f"scored by {name}", file=sys.stderr, flush=True)
    return pd.DataFrame(columns).assign(layout=[t.layout for t in triplets], good=[one.good for one in pool],
                                        fault=[one.fault for one in pool])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--triplets", type=int, default=24_000, help="In the pool.")
    parser.add_argument("--labels", type=int, nargs="+", default=[1000, 2000, 4000, 8000], help="A calibration has.")
    parser.add_argument("--resamples", type=int, default=200)
    parser.add_argument("--scores", type=Path, help="Parquet that holds the scored pool, or will.")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.scores and args.scores.exists():
        pool = pd.read_parquet(args.scores)
    else:
        pool = score(draw_labelled(load_emoji(), count=args.triplets, seed=SEED))
        if args.scores:
            pool.to_parquet(args.scores)
    sides = Sides(changed_rules({}, MATRIX).rules)
    values, good = sides.values(pool), pool["good"].to_numpy(dtype=bool)
    best = best_that_knows(values, good)
    quick = Sides(load_config(DEFAULT_CONFIG).rules)
    now = inside(quick.values(pool), quick.now)
    print(f"pool of {len(pool)} triplets, {good.mean():.1%} good; quick start's rules: precision "
          f"{good[now].mean():.1%}, yield {now.mean():.1%}; best that knows the truth: yield {best:.1%}", flush=True)
    met = [resample(values, good, labels, args.resamples, best) for labels in args.labels]
    return 0 if met[-1] else 1


def best_that_knows(values: np.ndarray, good: np.ndarray) -> float:
    """The highest yield of a box of true precision: the search over all of them, and every side in turn moved to its
    best place until nothing moves any more."""
    floor = np.full(values.shape[1], -np.inf)
    boxes = peel(values, good, fewest=FEWEST, floor=floor)
    enough = [box for box in boxes if good[inside(values, box)].mean() >= PRECISION]
    return max(float(inside(values, loosened(values, good, box)).mean()) for box in enough)


def loosened(values: np.ndarray, good: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The box with each side as loose as the precision allows when the others stay."""
    while True:
        before = box
        for side in range(values.shape[1]):
            others = inside(np.delete(values, side, axis=1), np.delete(box, side))
            order = np.argsort(-values[others, side], kind="stable")
            share = np.cumsum(good[others][order]) / np.arange(1, len(order) + 1)
            enough = np.flatnonzero(share >= PRECISION)
            if len(enough):
                box = box.copy()
                box[side] = values[others, side][order[enough[-1]]]
        if (box >= before).all():
            return box


def resample(values: np.ndarray, good: np.ndarray, labels: int, times: int, best: float) -> bool:
    """Whether the bars are met with so many labels."""
    rng = np.random.default_rng(labels)
    met, shares, yields = 0, [], []
    for _ in range(times):
        order = rng.permutation(len(good))
        some, unseen = order[:labels], order[len(good) // 2:]
        found = find_thresholds(values[some], good[some], rng.random(labels) < SEARCHING, values[unseen],
                                precision=PRECISION, confidence=CONFIDENCE)
        if found.thresholds is None:
            continue
        kept = unseen[inside(values[unseen], found.thresholds)]
        shares.append(float(good[kept].mean()))
        met += shares[-1] >= PRECISION
        yields.append(len(kept) / len(unseen))
    none = times - len(yields)
    mean = float(np.mean(yields)) if yields else 0.0
    passed = bool(met >= 0.95 * times and mean >= 0.9 * best)
    print(f"{labels:5d} labels: precision {PRECISION:g} met in {met} of {times} (bar 95 %), missed in "
          f"{len(yields) - met} (at worst {min(shares, default=0):.3f}), said to need more labels in {none}; yield "
          f"{mean:.1%} on average, {mean / best:.1%} of the best (bar 90 %): {'met' if passed else 'MISSED'}",
          flush=True)
    return passed


if __name__ == "__main__":
    sys.exit(main())
