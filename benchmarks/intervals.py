"""Do the bench's intervals cover the mean? `python benchmarks/intervals.py [--trials 300]`.

Benches of made-up numbers, every subject in every style: 0.5 plus a part of the subject, one of the style and one of
the image, each drawn from a normal distribution. A row a design: how often the 95 % interval over subjects alone, and
that over subjects and styles, holds 0.5.
"""

from __future__ import annotations

import argparse

import numpy as np

from curate.bench.bootstrap import bootstrap

DESIGNS = (  # subjects, styles, and the deviations of their parts and of the image's
    (50, 50, 0.1, 0.1, 0.1),
    (50, 50, 0.02, 0.1, 0.1),
    (50, 50, 0.0, 0.0, 0.1),
    (10, 10, 0.1, 0.1, 0.1),
    (5, 5, 0.1, 0.1, 0.1),
    (10, 3, 0.1, 0.1, 0.1),
)
MEAN = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=300)
    options = parser.parse_args()
    print("| subjects x styles | deviations | over subjects | over both |\n|---|---|---|---|")
    for design in DESIGNS:
        alone, both = (100 * share for share in covered(*design, trials=options.trials))
        print(f"| {design[0]} x {design[1]} | {', '.join(map(str, design[2:]))} | {alone:.0f} % | {both:.0f} % |")


def covered(num_subjects: int, num_styles: int, of_subject: float, of_style: float, of_image: float, *, trials: int,
            ) -> tuple[float, float]:
    """Shares of the trials whose interval holds the mean: over subjects, and over styles too."""
    subjects = [str(at) for at in range(num_subjects) for _ in range(num_styles)]
    styles = [str(at) for at in range(num_styles)] * num_subjects
    held = [0, 0]
    for trial in range(trials):
        rng = np.random.default_rng(trial)
        parts = rng.normal(0, of_subject, num_subjects)[:, None] + rng.normal(0, of_style, num_styles)
        values = (MEAN + parts + rng.normal(0, of_image, parts.shape)).ravel()
        for way, drawn in enumerate((None, styles)):
            found = bootstrap(values, subjects, styles=drawn, seed=trial, resamples=400)
            assert found is not None and found.low is not None and found.high is not None
            held[way] += found.low <= MEAN <= found.high
    return held[0] / trials, held[1] / trials


if __name__ == "__main__":
    main()
