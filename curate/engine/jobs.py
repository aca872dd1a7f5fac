"""``Job``: what is still to be done for one block, found by comparing the plan with the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from curate.engine.reports import BlockReport
from curate.engine.scoring import ScoreStep, Values
from curate.engine.steps import Step
from curate.records import Block, Unit, Work
from curate.store import RunStore, make_block


@dataclass(slots=True)
class Job:
    """A block with its open ends, and its work as it goes through the stages."""

    block: Block
    """Whole, as the plan has it: its size is the batch size, also when little of it is open."""
    make: frozenset[str]
    """Units without a candidate."""
    score: dict[str, frozenset[str]]
    """Scorer -> units whose candidate is committed and which it has not seen."""
    rows: dict[str, dict[str, Any]]
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
        failed = len(self.make & self.work.failures.keys())
        return BlockReport(self.block.index, self.block.block_id, made=len(self.make) - failed, failed=failed,
                           scored=self.scored, seconds=self.work.seconds, images=self.images, memory=self.work.memory)


def find_jobs(store: RunStore, steps: Sequence[Step], *, retry_failed: bool = False) -> list[Job]:
    """The blocks of the current plan with something missing, in order. Reads the ledger and the scores once.

    A candidate that failed needs no scores. With ``retry_failed`` failed units and failed scores are missing too.
    """
    ledger = store.ledger().drop(columns=["seconds", "provenance"])  # long texts that no stage needs
    status = ledger["status"].to_dict()
    settled = {unit_id for unit_id, state in status.items() if state == "made" or not retry_failed}
    scorers = [step for step in steps if isinstance(step, ScoreStep)]
    seen = {s.name: store.scored(s.name, s.fingerprint, include_failed=not retry_failed) for s in scorers}
    known = _known(store, scorers)
    jobs = []
    for block in store.blocks():
        ids = {unit.unit_id: unit for unit in block.units}
        make = frozenset(ids.keys() - settled)
        made = {unit_id for unit_id in ids if status.get(unit_id) == "made"}
        numbers = {name: {u: rows[u] for u in ids if u in rows} for name, rows in known.items()}
        score = {}
        for step in scorers:
            missing = made - seen[step.name]
            missing -= to_skip(step, missing, ids, numbers, scorers)
            if missing:
                score[step.name] = frozenset(missing)
        if make or score:
            needed = set().union(*score.values())
            rows = {u: _row(ledger, u) for u in sorted(needed)}
            jobs.append(Job(block, make, score, rows, numbers, Work(block, images={u: {} for u in ids if u in make})))
    return jobs


def to_skip(step: ScoreStep, unit_ids: set[str], units: Mapping[str, Unit], known: Mapping[str, Mapping[str, Values]],
            scorers: Sequence[ScoreStep]) -> set[str]:
    """Those of ``unit_ids`` that the cascade spares this scorer, judged by the scorers that stand before it."""
    earlier = [s.name for s in scorers[:[s.name for s in scorers].index(step.name)]]
    if step.skip is None or not earlier:
        return set()
    numbers: dict[str, Values] = {}
    for name in earlier:
        for unit_id in unit_ids & known.get(name, {}).keys():
            numbers.setdefault(unit_id, {}).update(known[name][unit_id])
    return step.skip({u: units[u] for u in numbers}, numbers) & unit_ids if numbers else set()


def _row(ledger: pd.DataFrame, unit_id: str) -> dict[str, Any]:
    return {str(column): value for column, value in ledger.loc[unit_id].items()}


def _known(store: RunStore, scorers: Sequence[ScoreStep]) -> dict[str, dict[str, Values]]:
    """Numbers of the scorers before the last one that skips; nothing is read where none does."""
    last = max((i for i, step in enumerate(scorers) if step.skip), default=0)
    known: dict[str, dict[str, Values]] = {}
    for step in scorers[:last]:
        frame = store.scores(step.name, step.fingerprint)
        frame = frame[frame["error"] == ""].drop(columns="error")
        known[step.name] = {str(u): {str(c): v for c, v in row.items() if v is not pd.NA}
                            for u, row in frame.to_dict("index").items()}
    return known
