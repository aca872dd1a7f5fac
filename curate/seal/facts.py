"""All that a verdict depends on, as arrays: what the judge works on, out of the store or out of an index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

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
    """A row a unit, in plan order; float32 and Int64 columns."""
    owners: dict[str, str]
    """Column -> the scorer that gave it."""
    seen: dict[str, Bools]
    """Scorer -> (N,) whether it has numbers or an error for a unit."""
    errors: dict[str, dict[int, str]]
    """Scorer -> place of a unit in the plan -> error."""


def facts_of(plan: pa.Table, ledger: pd.DataFrame, scores: ScoreTable, *, selected: frozenset[str] | None = None,
             ) -> Facts:
    """From the plan, the ledger and the scores. ``selected``: ids that may be kept; None = all."""
    made, outcomes = _outcomes(ledger[["status", "stage", "reason"]].reindex(plan.column("unit_id").to_pandas()))
    unseen = np.full(plan.num_rows, -1, dtype=np.int64)
    for i, seen in reversed(list(enumerate(scores.seen.values()))):
        unseen[~seen] = i
    sources, subjects = numbered(*keys_of(plan))
    chosen = np.ones(plan.num_rows, dtype=bool)
    if selected is not None:
        chosen = np.asarray(pc.is_in(plan.column("unit_id"), pa.array(sorted(selected), pa.string())))
    layout = plan.column("layout").combine_chunks().dictionary_encode()
    return Facts(
        frame=scores.frame.assign(layout=np.array(layout.dictionary.to_pylist(), dtype=object)[layout.indices]),
        val=np.asarray(pc.equal(plan.column("side"), "val")), made=made, outcomes=outcomes,
        unseen=unseen, scorers=tuple(scores.seen), owners=scores.owners,
        errors={name: {place: text.partition("\n")[0] for place, text in said.items()}
                for name, said in scores.errors.items()},
        sources=sources, subjects=subjects, chosen=chosen)


def _outcomes(rows: pd.DataFrame) -> tuple[Ints, list[Verdict]]:
    """``made`` and ``outcomes`` of ``Facts`` from the ledger's rows, NaN = none."""
    codes = np.zeros(len(rows), dtype=np.int64)
    codes[rows["status"].isna().to_numpy()] = 1
    found = [MADE, UNMADE]
    without = np.flatnonzero(rows["status"].isin(["failed", "rejected"]).to_numpy(dtype=bool))
    numbers = {verdict: i for i, verdict in enumerate(found)}
    told = rows[list(Verdict._fields)].iloc[without].astype(str)
    for place, *said in zip(without.tolist(), *(told[name] for name in Verdict._fields), strict=True):
        codes[place] = numbers.setdefault(Verdict(*said), len(numbers))
    there, firsts = np.unique(codes, return_index=True)
    order = [0, *(int(code) for code in there[np.argsort(firsts)] if code)]
    renamed = np.zeros(len(numbers), dtype=np.int64)
    renamed[order] = np.arange(len(order))
    every = list(numbers)
    return renamed[codes], [every[code] for code in order]


def numbered(source: Ints, subject: Ints, style_subject: Ints) -> tuple[Ints, Ints]:
    """``sources`` and ``subjects`` of ``Facts`` from the (N,) columns of ``Keys``."""
    subjects, different = pd.factorize(np.concatenate([subject, style_subject]))
    subjects[np.isin(subjects, np.flatnonzero(different == 0))] = -1
    return pd.factorize(source)[0].astype(np.int64), subjects.astype(np.int64).reshape(2, -1)
