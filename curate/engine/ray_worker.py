"""What runs in Ray's workers: a pool's steps on one block (``PoolWorker``), its units one by one (``LoneWorker``)."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from curate.engine.advance import Line
from curate.engine.jobs import Job
from curate.engine.making import ExpertStep
from curate.engine.opened import Opened
from curate.engine.reports import BlockReport
from curate.engine.steps import Step
from curate.errors import CurateError, EngineError
from curate.records import Work
from curate.store import RunStore

if TYPE_CHECKING:
    from ray.actor import ActorHandle

COLUMN = "row"


@dataclass(frozen=True, slots=True)
class HandedBack:
    """A block that was not finished; ``suspect``: because it kills its workers."""

    index: int
    suspect: bool


@dataclass(frozen=True, slots=True)
class Broken:
    """An error that is about no unit: the run ends with it."""

    error: Exception


Row = Job | BlockReport | HandedBack | Broken


def to_table(row: Row) -> pa.Table:
    """One row for Ray Data. Arrow and not numpy: numpy would cut trailing zero bytes."""
    return pa.table({COLUMN: pa.array([to_cell(row)], pa.large_binary())})


def to_cell(row: Row) -> bytes:
    """A row as bytes: a tenth of what its objects take."""
    return pickle.dumps(row)


def from_table(table: pa.Table) -> list[Row]:
    """The rows in a table."""
    return [pickle.loads(cell.as_py()) for cell in table.column(COLUMN)]


@dataclass(frozen=True, slots=True)
class PoolSpec:
    """All that a worker needs to know."""

    root: Path
    steps: tuple[Step, ...]
    needed: tuple[int, ...]
    part: tuple[int, ...]
    index: int
    name: str
    last: bool
    gate: ActorHandle[Any]


class PoolWorker:
    """One worker of a pool: rows that are no jobs pass through."""

    def __init__(self, spec: PoolSpec) -> None:
        self._spec = spec
        self._line: Line | None = None
        self._opened = Opened(spec.steps)

    def __call__(self, table: pa.Table) -> pa.Table:
        (row,) = from_table(table)
        return to_table(self._work(row)) if isinstance(row, Job) else table

    def _work(self, job: Job) -> Row:
        import ray

        block_id = job.block.block_id
        try:
            verdict = "go" if self._load() else "stop"
            if verdict == "go":
                verdict = ray.get(self._spec.gate.enter.remote(self._spec.index, block_id, paid=self._is_paid(job)))
            if verdict != "go" or self._line is None:
                self._spec.gate.leave.remote(block_id, done=False)
                return HandedBack(job.block.index, suspect=verdict == "suspect")
            self._line.advance(job, self._spec.part, self._opened.compute)
        except Exception as error:
            self._spec.gate.stop.remote()
            return Broken(portable(error))
        if not self._spec.last:
            return job
        self._spec.gate.leave.remote(block_id, done=True)
        return job.report()

    def _load(self) -> bool:
        """Load the models, once; False when there is no use."""
        import ray

        if self._line is None:
            me = ray.get_runtime_context().get_actor_id()
            if not ray.get(self._spec.gate.begin_loading.remote(me, self._spec.name)):
                return False
            self._opened.open(self._spec.part)
            self._line = Line(RunStore.open(self._spec.root, sweep=False), self._spec.steps, self._spec.needed)
            self._spec.gate.end_loading.remote(me)
        return True

    def _is_paid(self, job: Job) -> bool:
        """An expert has worked on the block, and its images are only here."""
        before = [self._spec.steps[i] for i in self._spec.needed if i < self._spec.part[0]]
        return bool(job.make) and not job.committed and any(isinstance(step, ExpertStep) for step in before)


class LoneWorker:
    """A worker for isolation. Errors are answers, so that only a death looks like one."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._opened = Opened(steps)

    def answer(self, i: int, work: Work | None) -> Work | Exception | None:
        """Step ``i`` on this work; without work, only load its model."""
        try:
            if work is not None:
                return self._opened.compute(i, work)
            self._opened.open([i])
        except Exception as error:
            return portable(error)
        return None


def portable(error: Exception) -> Exception:
    """The error itself if it survives pickling, with its traceback as a note unless it is one of ours."""
    trace = "".join(traceback.format_exception(error))
    try:
        same: Exception = pickle.loads(pickle.dumps(error))
    except Exception:  # whatever a foreign class raises here, it cannot travel
        same = EngineError(f"{type(error).__name__}: {error}")
    if not isinstance(error, CurateError):
        same.add_note("In a worker:\n" + trace)
    return same
