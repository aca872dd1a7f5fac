"""``Job``: what is still to be done for one block; ``Jobs`` finds them all by comparing the plan with the store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from curate.engine.reports import BlockReport
from curate.engine.scoring import ScoreStep, Values
from curate.engine.steps import Step
from curate.keys import Ints
from curate.records import Block, Unit, Work
from curate.store import RunStore, make_block
from curate.store.standing import MADE, NOTHING, numbers_of, seen_by

Bools = npt.NDArray[np.bool_]
LONG = ("seconds", "provenance")
"""Texts of the ledger that no stage needs."""


@dataclass(slots=True)
class Job:
    """A block with its open ends, and its work as it goes through the stages."""

    block: Block
    """Whole, as the plan has it: its size is the batch size, also when little of it is open."""
    make: frozenset[str]
    """Units without a candidate."""
    score: dict[str, frozenset[str]]
    """Scorer -> units whose candidate is committed and which it has not seen."""
    rows: dict[str, Mapping[str, Any]]
    """Ledger rows of the units in ``score``: where their images lie."""
    known: dict[str, dict[str, Values]]
    """Scorer -> unit_id -> numbers so far, for the cascade."""
    work: Work
    committed: bool = False
    """The candidates of ``make`` are in the store."""
    scored: dict[str, int] = field(default_factory=dict)
    images: dict[str, int] = field(default_factory=dict)
    """Stage -> images or triplets that went through it."""

    @property
    def open_block(self) -> Block:
        """The units of ``make`` as the block that is committed (the whole block when nothing or all is to be made)."""
        if len(self.make) in (0, len(self.block.units)):
            return self.block
        return make_block(self.block.index, [unit for unit in self.block.units if unit.unit_id in self.make])

    def report(self) -> BlockReport:
        """What was done."""
        ended = [self.work.failures[unit_id] for unit_id in self.make if unit_id in self.work.failures]
        rejected = sum(failure.rejects for failure in ended)
        return BlockReport(self.block.index, self.block.block_id, made=len(self.make) - len(ended),
                           failed=len(ended) - rejected, rejected=rejected, scored=self.scored,
                           seconds=self.work.seconds, images=self.images, memory=self.work.memory)


class Jobs:
    """The blocks of a plan with something missing, in order. Made one after the other as they are asked for: what is
    held of all units are bits."""

    def __init__(self, store: RunStore, steps: Sequence[Step], *, retry_failed: bool = False) -> None:
        """Reads the ledger and the scores once. A candidate that failed needs no scores. With ``retry_failed`` failed
        units and failed scores are missing too."""
        self._standing = store.standing()
        self._plan = store.plan
        status = self._standing.status
        self._make: Bools = status == NOTHING if not retry_failed else status != MADE
        self._scorers = [step for step in steps if isinstance(step, ScoreStep)]
        self._score: dict[str, Bools] = {}
        for step in self._scorers:
            seen = seen_by(self._plan, store.score_segments(step.name, step.fingerprint))
            self._score[step.name] = (status == MADE) & (seen < (2 if retry_failed else 1))
        self._known = _known(store, self._scorers, self._score)
        self._spare()
        self.numbers = self._blocks(self._make, *self._score.values())
        """Of the blocks, rising."""

    def _spare(self) -> None:
        """Leave out what the cascade spares."""
        layouts = self._plan.layouts if self._known else None
        for i, step in enumerate(self._scorers):
            asked = np.flatnonzero(self._score[step.name])
            earlier = [self._known[s.name] for s in self._scorers[:i] if s.name in self._known]
            if step.skip is None or not earlier or layouts is None or not len(asked):
                continue
            frame = pd.concat([one.loc[asked] for one in earlier], axis=1)
            self._score[step.name][asked[step.skip(frame.assign(layout=layouts[asked]))]] = False

    def _blocks(self, *open_: Bools) -> Ints:
        found = np.zeros(self._plan.num_blocks, dtype=bool)
        starts = np.arange(0, len(self._plan), self._plan.block_size)
        for mask in open_:
            found |= np.logical_or.reduceat(mask, starts)
        return np.flatnonzero(found)

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def makes(self) -> bool:
        """Whether any candidate is missing."""
        return bool(self._make.any())

    @property
    def scores(self) -> set[str]:
        """Names of the scorers with something to do on candidates that are there."""
        return {name for name, mask in self._score.items() if mask.any()}

    def __iter__(self) -> Iterator[Job]:
        return self.of(map(int, self.numbers))

    def of(self, numbers: Iterable[int]) -> Iterator[Job]:
        """The jobs of some blocks."""
        return map(self._job, numbers)

    def _job(self, number: int) -> Job:
        block = self._plan.block(number)
        first = number * self._plan.block_size
        names = [unit.unit_id for unit in block.units]
        make = frozenset(name for i, name in enumerate(names) if self._make[first + i])
        score = {step: found for step, mask in self._score.items()
                 if (found := frozenset(name for i, name in enumerate(names) if mask[first + i]))}
        needed = frozenset[str]().union(*score.values())
        places = {name: first + i for i, name in enumerate(names) if name in needed}
        rows: dict[str, Mapping[str, Any]] = {
            name: {column: value for column, value in self._standing.row(place, name).items() if column not in LONG}
            for name, place in places.items()}
        known = {step: _values(frame, places) for step, frame in self._known.items()}
        return Job(block, make, score, rows, known, Work(block, images={name: {} for name in names if name in make}))


def to_skip(step: ScoreStep, unit_ids: set[str], units: Mapping[str, Unit], known: Mapping[str, Mapping[str, Values]],
            scorers: Sequence[ScoreStep]) -> set[str]:
    """Those of ``unit_ids`` that the cascade spares this scorer, judged by the scorers that stand before it."""
    earlier = [s.name for s in scorers[:[s.name for s in scorers].index(step.name)]]
    numbers: dict[str, Values] = {}
    for name in earlier:
        for unit_id in unit_ids & known.get(name, {}).keys():
            numbers.setdefault(unit_id, {}).update(known[name][unit_id])
    if step.skip is None or not numbers:
        return set()
    frame = pd.DataFrame.from_dict(numbers, orient="index")
    frame["layout"] = [units[unit_id].layout for unit_id in frame.index]
    return set(frame.index[step.skip(frame)])


def _values(frame: pd.DataFrame, places: Mapping[str, int]) -> dict[str, Values]:
    """Unit id -> numbers of the units that have any."""
    there = {name: place for name, place in places.items() if place in frame.index}
    rows = frame.loc[list(there.values())].to_dict("records")
    return {name: values for name, row in zip(there, rows, strict=True)
            if (values := {str(column): value for column, value in row.items() if not pd.isna(value)})}


def _known(store: RunStore, scorers: Sequence[ScoreStep], missing: Mapping[str, Bools]) -> dict[str, pd.DataFrame]:
    """Scorer -> its numbers for the units that a later scorer of the cascade lacks, by place in the plan; nothing is
    read where none is lacking."""
    known: dict[str, pd.DataFrame] = {}
    for i, step in enumerate(scorers):
        asked = [missing[later.name] for later in scorers[i + 1:] if later.skip is not None]
        wanted = np.flatnonzero(np.any(asked, axis=0)) if asked else np.zeros(0, dtype=np.int64)
        if len(wanted):
            known[step.name] = numbers_of(store.plan, store.score_segments(step.name, step.fingerprint), wanted)
    return known
