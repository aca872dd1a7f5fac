"""From scores to a summary: a mean with its interval for every system, task and number, and paired differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from curate.bench.bootstrap import LEVEL, Interval, bootstrap, bootstrap_difference
from curate.bench.items import TASKS
from curate.bench.metrics import Column
from curate.bench.quoted import NOTE, BenchName, quoted_numbers

Summary = dict[str, Any]
"""As written to bench.json; see ``summarise``."""

MOST_REASONS = 5


def summarise(scores: pd.DataFrame, columns: Mapping[str, Column], *, baselines: Sequence[str], deciding: str | None,
              quoted: BenchName | None, seed: int, resamples: int) -> Summary:
    """``measured``: system -> task -> counts, seconds an image, reasons, and figures (value, low, high, images,
    subjects). ``differences``: paired, in the column ``deciding``, system - baseline. ``quoted``: other people's
    numbers, apart."""
    measured = {system: {task: _task_summary(of[of["task"] == task], columns, seed, resamples)
                         for task in TASKS if (of["task"] == task).any()}
                for system, of in _by_system(scores)}
    return {
        "metrics": {name: column._asdict() for name, column in columns.items()},
        "interval": {"level": LEVEL, "method": "percentile bootstrap over subjects", "resamples": resamples,
                     "seed": seed},
        "measured": measured,
        "differences": _differences(scores, baselines, deciding, seed, resamples) if deciding else [],
        "quoted": None if quoted is None else _quoted(quoted),
    }


def _by_system(scores: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    return [(str(name), scores[scores["system"] == name]) for name in scores["system"].unique()]


def _task_summary(rows: pd.DataFrame, columns: Mapping[str, Column], seed: int, resamples: int) -> dict[str, Any]:
    counts = rows["status"].value_counts()
    found = {name: bootstrap(rows[name].to_numpy(), rows["subject"].tolist(), seed=seed, resamples=resamples)
             for name in columns if name in rows}
    seconds = rows["seconds"].mean()
    return {
        **{status: int(counts.get(status, 0)) for status in ("made", "failed", "skipped")},
        "seconds_per_image": None if np.isnan(seconds) else round(float(seconds), 4),
        "reasons": _reasons(rows),
        "figures": {name: _as_json(interval) for name, interval in found.items() if interval is not None},
    }


def _reasons(rows: pd.DataFrame) -> dict[str, int]:
    """Why images are missing: the commonest reasons, the rest as one count."""
    counts = rows.loc[rows["status"] != "made", "reason"].value_counts()
    shown = {str(reason): int(count) for reason, count in counts.iloc[:MOST_REASONS].items()}
    rest = int(counts.iloc[MOST_REASONS:].sum())
    return {**shown, "other reasons": rest} if rest else shown


def _differences(scores: pd.DataFrame, baselines: Sequence[str], deciding: str, seed: int, resamples: int,
                 ) -> list[dict[str, Any]]:
    found = []
    combined = scores[scores["task"] == "combined"].set_index("id")
    by_system = dict(_by_system(combined))
    for baseline in (name for name in baselines if name in by_system):
        other = by_system[baseline][deciding]
        for system, rows in by_system.items():
            if system == baseline:
                continue
            pair = bootstrap_difference(rows[deciding].to_numpy(), other.reindex(rows.index).to_numpy(),
                                        rows["subject"].tolist(), seed=seed, resamples=resamples)
            if pair is not None:
                found.append({"system": system, "baseline": baseline, "column": deciding, **_as_json(pair),
                              "verdict": _verdict(pair)})
    return found


def _verdict(pair: Interval) -> str:
    """Which way the difference goes, where its interval leaves zero out."""
    return "better" if pair.above_zero else "worse" if pair.below_zero else "undecided"


def _as_json(interval: Interval) -> dict[str, float | int | None]:
    return {"value": round(interval.value, 5), "low": _rounded(interval.low), "high": _rounded(interval.high),
            "images": interval.num_images, "subjects": interval.num_subjects}


def _rounded(bound: float | None) -> float | None:
    return None if bound is None else round(bound, 5)


def _quoted(bench: BenchName) -> dict[str, Any]:
    return {"note": NOTE, "numbers": [number._asdict() for number in quoted_numbers(bench)]}
