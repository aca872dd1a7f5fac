"""Numbers of every outcome: all metrics over the images, and the combined score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from curate.bench.items import Floats
from curate.bench.making import Outcome
from curate.bench.metrics import COMBINED, CombinedConfig, Measure, Sample


def score_outcomes(outcomes: Mapping[str, Sequence[Outcome]], measures: Sequence[Measure],
                   combined: CombinedConfig | None) -> pd.DataFrame:
    """A row for every system and item: system, id, task, subject, style, status, reason, seconds, and a column a number
    (float32, NaN where a metric does not apply or there is no image)."""
    return pd.concat([_system_frame(system, of, measures, combined) for system, of in outcomes.items()],
                     ignore_index=True)


def combined_score(subject: Floats, style: Floats) -> Floats:
    """(N,) in [0, 1]; NaN where either is."""
    return np.sqrt(np.clip(subject, 0, 1) * np.clip(style, 0, 1)).astype(np.float32)


def _system_frame(system: str, outcomes: Sequence[Outcome], measures: Sequence[Measure],
                  combined: CombinedConfig | None) -> pd.DataFrame:
    frame = pd.DataFrame({
        "system": system,
        "id": [outcome.item.item_id for outcome in outcomes],
        "task": [outcome.item.task for outcome in outcomes],
        "subject": [outcome.item.subject for outcome in outcomes],
        "style": [outcome.item.style.name if outcome.item.style else "" for outcome in outcomes],
        "status": [outcome.status for outcome in outcomes],
        "reason": [outcome.reason for outcome in outcomes],
        "seconds": [np.nan if outcome.seconds is None else outcome.seconds for outcome in outcomes],
    })
    made = np.array([outcome.picture is not None for outcome in outcomes])
    samples = [Sample(outcome.item, outcome.picture) for outcome in outcomes if outcome.picture is not None]
    for measure in measures:
        for name, values in (measure(samples) if samples else {}).items():
            column = np.full(len(outcomes), np.nan, dtype=np.float32)
            column[made] = values
            frame[name] = column
    return frame if combined is None else _with_combined(frame, combined)


def _with_combined(frame: pd.DataFrame, combined: CombinedConfig) -> pd.DataFrame:
    both = frame["task"] == "combined"
    failed = both & (frame["status"] == "failed")
    if {combined.subject, combined.style} <= set(frame.columns):
        score = combined_score(frame[combined.subject].to_numpy(), frame[combined.style].to_numpy())
        frame[COMBINED] = np.where(both, score, np.nan).astype(np.float32)
    else:  # not one image was made
        frame[COMBINED] = np.float32(np.nan)
    frame.loc[failed, COMBINED] = np.float32(0)
    return frame
