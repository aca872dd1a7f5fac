"""From scores to a summary: a mean with its interval for every system, task and number, and paired differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from curate.bench.bootstrap import LEVEL, Interval, are_crossed, bootstrap, bootstrap_difference
from curate.bench.items import TASKS
from curate.bench.metrics import Better, Column
from curate.bench.quoted import NOTE, BenchName, quoted_numbers

Summary = dict[str, Any]
"""As written to bench.json; see ``summarise``."""

MOST_REASONS = 5
METHOD = "percentile bootstrap over subjects, and over styles where these come back with other subjects"


def summarise(scores: pd.DataFrame, columns: Mapping[str, Column], *, baselines: Sequence[str],
              quoted: BenchName | None, seed: int, resamples: int) -> Summary:
    """``measured``: system -> task -> counts, seconds an image, reasons, and figures (value, low, high, images,
    subjects, styles). ``differences``: system - baseline over the items that both made (of the combined score also
    those that failed, as 0), in every task and column that has a good end. ``quoted``: other people's numbers, apart.
    """
    measured = {system: {task: _task_summary(of[of["task"] == task], columns, seed, resamples)
                         for task in TASKS if (of["task"] == task).any()}
                for system, of in _by_system(scores)}
    return {
        "metrics": {name: column._asdict() for name, column in columns.items()},
        "interval": {"level": LEVEL, "method": METHOD, "resamples": resamples, "seed": seed},
        "measured": measured,
        "differences": [found for task in TASKS for found in
                        _differences(scores[scores["task"] == task], task, columns, baselines, seed, resamples)],
        "quoted": None if quoted is None else _quoted(quoted),
    }


def _by_system(scores: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    return [(str(name), scores[scores["system"] == name]) for name in scores["system"].unique()]


def _task_summary(rows: pd.DataFrame, columns: Mapping[str, Column], seed: int, resamples: int) -> dict[str, Any]:
    counts = rows["status"].value_counts()
    found = {name: bootstrap(rows[name].to_numpy(), rows["subject"].tolist(), seed=seed, resamples=resamples,
                             styles=_styles_drawn(rows))
             for name in columns if name in rows}
    seconds = rows["seconds"].mean()
    return {
        **{status: int(counts.get(status, 0)) for status in ("made", "failed", "skipped")},
        "seconds_per_image": None if np.isnan(seconds) else round(float(seconds), 4),
        "reasons": _reasons(rows),
        "figures": {name: _as_json(interval) for name, interval in found.items() if interval is not None},
    }


def _styles_drawn(rows: pd.DataFrame) -> list[str] | None:
    """The style of each row where styles are drawn like subjects."""
    subjects, styles = rows["subject"].tolist(), rows["style"].tolist()
    return styles if are_crossed(subjects, styles) else None


def _reasons(rows: pd.DataFrame) -> dict[str, int]:
    """Why images are missing: the commonest reasons, the rest as one count."""
    counts = rows.loc[rows["status"] != "made", "reason"].value_counts()
    shown = {str(reason): int(count) for reason, count in counts.iloc[:MOST_REASONS].items()}
    rest = int(counts.iloc[MOST_REASONS:].sum())
    return {**shown, "other reasons": rest} if rest else shown


def _differences(scores: pd.DataFrame, task: str, columns: Mapping[str, Column], baselines: Sequence[str], seed: int,
                 resamples: int) -> list[dict[str, Any]]:
    """Of one task: each system against each baseline, two baselines once; column by column."""
    found = []
    by_system = {name: rows.set_index("id") for name, rows in _by_system(scores)}
    for at, baseline in enumerate(baselines):
        for system in (name for name in by_system if name not in baselines[: at + 1] and baseline in by_system):
            rows = by_system[system]
            compare = partial(bootstrap_difference, subjects=rows["subject"].tolist(), styles=_styles_drawn(rows),
                              seed=seed, resamples=resamples)
            other = by_system[baseline].reindex(rows.index)
            for name, column in columns.items():
                if column.better == "context" or name not in rows:
                    continue
                pair = compare(rows[name].to_numpy(), other[name].to_numpy())
                if pair is not None:
                    found.append({"task": task, "system": system, "baseline": baseline, "column": name,
                                  **_as_json(pair), "verdict": _verdict(pair, column.better)})
    return found


def _verdict(pair: Interval, better: Better) -> str:
    """Which way the difference goes, where its interval leaves zero out."""
    if not (pair.above_zero or pair.below_zero):
        return "undecided"
    return "better" if pair.above_zero == (better == "higher") else "worse"


def _as_json(interval: Interval) -> dict[str, float | int | None]:
    return {"value": round(interval.value, 5), "low": _rounded(interval.low), "high": _rounded(interval.high),
            "images": interval.num_images, "subjects": interval.num_subjects, "styles": interval.num_styles}


def _rounded(bound: float | None) -> float | None:
    return None if bound is None else round(bound, 5)


def _quoted(bench: BenchName) -> dict[str, Any]:
    return {"note": NOTE, "numbers": [number._asdict() for number in quoted_numbers(bench)]}
