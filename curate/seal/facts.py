"""All that a verdict depends on, as arrays: what the judge works on, out of the store or out of an index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from curate.records import Unit
from curate.seal.look_alikes import Bools, Ints
from curate.seal.split import keys_of


class Verdict(NamedTuple):
    """What became of a unit: a status, the stage that decided, and why."""

    status: str
    stage: str
    reason: str


MADE = Verdict("kept", "", "")
"""Of a unit that nothing speaks against."""
UNMADE = Verdict("pending", "candidates", "not made yet")


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of N planned units, in plan order."""

    frame: pd.DataFrame
    """Score columns (float32; nullable integers for hashes) and ``layout``."""
    val: Bools
    """(N,) on the val side of the split."""
    made: Ints
    """(N,) position in ``outcomes`` of what became of making the candidate; 0 = it was made."""
    outcomes: Sequence[Verdict]
    """``MADE``, then all others that occur."""
    unseen: Ints
    """(N,) the first scorer, as its position in ``scorers``, that has neither a number nor an error; -1 = none."""
    scorers: Sequence[str]
    owners: Mapping[str, str]
    """Column -> the scorer that gives it."""
    errors: Mapping[str, Mapping[int, str]]
    """Scorer -> position of a unit -> why it has no numbers."""
    sources: Ints
    """(N,) equal numbers = the target's structure comes of the same image."""
    subjects: Ints
    """(2, N) numbers of the targets' and the style references' subjects, -1 = unknown."""
    chosen: Bools
    """(N,) not left out by a selection."""

    @property
    def is_made(self) -> Bools:
        """(N,) has images."""
        made: Bools = self.made == 0
        return made


@dataclass(frozen=True, slots=True)
class ScoreTable:
    """All scores of the planned units."""

    frame: pd.DataFrame
    """Indexed by unit_id in plan order; float32 and Int64 columns."""
    owners: dict[str, str]
    """Column -> the scorer that gave it."""
    seen: dict[str, set[str]]
    """Scorer -> units it has numbers or an error for."""
    errors: dict[str, dict[str, str]]
    """Scorer -> unit_id -> error."""


def facts_of(units: Sequence[Unit], ledger: pd.DataFrame, scores: ScoreTable, *, selected: frozenset[str] | None = None,
             ) -> Facts:
    """From the plan, the ledger and the scores. ``selected``: ids that may be kept; None = all."""
    ids = [unit.unit_id for unit in units]
    found = dict.fromkeys(ids, UNMADE)
    committed = ledger[["status", "stage", "reason"]]
    for row in committed.loc[committed.index.isin(ids)].itertuples():
        failed = Verdict("failed", str(row.stage), str(row.reason))
        found[str(row.Index)] = failed if row.status == "failed" else MADE
    outcomes = list(dict.fromkeys([MADE, *found.values()]))
    numbers = {verdict: i for i, verdict in enumerate(outcomes)}
    unseen = np.full(len(ids), -1, dtype=np.int64)
    for i, seen in reversed(list(enumerate(scores.seen.values()))):
        unseen[[unit_id not in seen for unit_id in ids]] = i
    position = {unit_id: i for i, unit_id in enumerate(ids)}
    sources, subjects = numbered(*np.array([keys_of(unit) for unit in units], dtype=np.int64).reshape(-1, 3).T)
    return Facts(
        frame=scores.frame.assign(layout=np.array([unit.layout for unit in units], dtype=object)),
        val=np.array([unit.side == "val" for unit in units], dtype=bool),
        made=np.array([numbers[found[unit_id]] for unit_id in ids], dtype=np.int64), outcomes=outcomes,
        unseen=unseen, scorers=tuple(scores.seen), owners=scores.owners,
        errors={name: {position[u]: text.partition("\n")[0] for u, text in said.items() if u in position}
                for name, said in scores.errors.items()},
        sources=sources, subjects=subjects,
        chosen=np.array([selected is None or unit_id in selected for unit_id in ids], dtype=bool))


def numbered(source: Ints, subject: Ints, style_subject: Ints) -> tuple[Ints, Ints]:
    """``sources`` and ``subjects`` of ``Facts`` from the (N,) columns of ``Keys``."""
    subjects, different = pd.factorize(np.concatenate([subject, style_subject]))
    subjects[np.isin(subjects, np.flatnonzero(different == 0))] = -1
    return pd.factorize(source)[0].astype(np.int64), subjects.astype(np.int64).reshape(2, -1)
