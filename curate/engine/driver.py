"""``execute``: everything that the plan asks for and the store lacks, on the engine of the config.

Blocks are run as a whole; those that keep killing their workers are run unit by unit; a unit that does so alone is
recorded as failed. After each pass the store, not the engine, says what is missing. Any crash, any number of calls:
the end is the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from curate.engine.advance import Line
from curate.engine.config import EngineConfig
from curate.engine.isolation import Deaths, Hand, Isolation
from curate.engine.jobs import Job, Jobs
from curate.engine.local import LocalEngine
from curate.engine.pools import Demand
from curate.engine.reports import BlockReport, EngineReport
from curate.engine.scoring import ScoreStep
from curate.engine.steps import Step, step_resources
from curate.errors import EngineError
from curate.stop import StopFlag
from curate.store import RunStore
from curate.store.folding import FOLD

Bools = npt.NDArray[np.bool_]


class Engine(Protocol):
    """Where blocks run. Every method may raise EngineError; a CurateError out of a stage comes out as it was raised."""

    journal: bool
    """Whether a unit that kills its worker takes this process with it, so that attempts must be written down."""
    gpus: float
    """What its workers hold once started; an engine whose pools grow tells the report later ones itself."""

    def start(self, line: Line, num_jobs: int) -> dict[str, int]:
        """Check that the stages fit and start what they need; workers by stage names."""
        ...

    def run(self, line: Line, jobs: Iterable[Job], on_block: Callable[[BlockReport], None], stop: StopFlag,
            report: EngineReport, deaths: Deaths) -> set[int]:
        """Run and commit jobs; numbers of the blocks to isolate. Adds to the report's seconds and to the deaths."""
        ...

    def open_hand(self, line: Line, i: int) -> Hand:
        """A worker that runs step ``i`` and the others of its pool."""
        ...

    def close(self) -> None: ...


def execute(store: RunStore, steps: Sequence[Step], config: EngineConfig, *,
            on_progress: Callable[[BlockReport], None] = lambda block: None, stop: StopFlag | None = None,
            enough: Callable[[EngineReport], bool] = lambda report: False, demand: Demand | None = None,
            retry_failed: bool = False) -> EngineReport:
    """Make and score what is missing; call again to resume.

    ``on_progress`` is called in this thread as blocks commit, then ``enough``: when it says so, the blocks in flight
    are finished and no new one begins. ``demand`` balances the pools of Ray (see ``curate.engine.pools``). When
    ``stop`` is requested or KeyboardInterrupt rises before the end, the report says ``stopped``. Raises EngineError
    (does not fit here, too many workers died), ModelError, StoreError.
    """
    _check_order(steps)
    return _Execution(store, tuple(steps), config, on_progress, stop or StopFlag(), enough, demand, retry_failed).run()


class _Execution:
    """One call of ``execute``."""

    def __init__(self, store: RunStore, steps: tuple[Step, ...], config: EngineConfig,
                 on_progress: Callable[[BlockReport], None], stop: StopFlag, enough: Callable[[EngineReport], bool],
                 demand: Demand | None, retry_failed: bool) -> None:
        self.store, self.steps, self.config, self.stop = store, steps, config, stop
        self.on_progress, self.enough, self.demand, self.retry_failed = on_progress, enough, demand, retry_failed
        self.report = EngineReport(config.kind)
        self.deaths = Deaths(config.max_deaths)
        self.tables = [(step.name, step.fingerprint) for step in steps if isinstance(step, ScoreStep)]
        self.finished: Bools = np.zeros(store.plan.num_blocks, dtype=bool)
        """Blocks that are done: with ``retry_failed`` the store alone cannot say it."""
        self.gpus = {step.name: step_resources(step).gpus for step in steps}

    def run(self) -> EngineReport:
        """Plan, start, pass after pass, report."""
        begun = time.perf_counter()
        self.store.fold(self.tables)
        jobs = self._jobs()
        if not len(jobs):
            return self.report
        engine = open_engine(self.config, self.demand)
        line = Line(self.store, self.steps, _needed(self.steps, jobs), journal=engine.journal)
        left = len(jobs)
        try:
            self.report.replicas = engine.start(line, len(jobs))
            self.report.hold(engine.gpus)
            self.report.startup_s = time.perf_counter() - begun
            while left and not self.stop.requested:
                left = self._pass(engine, line, jobs)
                if left and not self.stop.requested:
                    jobs = self._jobs()
                    left = len(jobs)
        except KeyboardInterrupt:
            self.stop.request()
        finally:
            self.report.hold(0.0)
            engine.close()
        self.report.stopped = bool(left)
        self.report.deaths = self.deaths.count
        return self.report

    def _jobs(self) -> Jobs:
        jobs = Jobs(self.store, self.steps, retry_failed=self.retry_failed)
        jobs.numbers = jobs.numbers[~self.finished[jobs.numbers]]
        return jobs

    def _pass(self, engine: Engine, line: Line, jobs: Jobs) -> int:
        """Run jobs once as blocks, then isolate those that must be; how many are left."""
        before = int(self.finished.sum())
        suspects = engine.run(line, jobs, self._count, self.stop, self.report, self.deaths)
        if self.finished[jobs.numbers].all():
            return 0
        if suspects and not self.stop.requested:
            jobs = self._jobs()
            self._isolate(engine, line, list(jobs.of(sorted(suspects.intersection(map(int, jobs.numbers))))))
        if int(self.finished.sum()) == before and not self.stop.requested:
            raise EngineError(f"the {self.config.kind} engine finished none of {len(jobs)} blocks and none killed its "
                              "worker: is the cluster gone?")
        return int((~self.finished[jobs.numbers]).sum())

    def _isolate(self, engine: Engine, line: Line, jobs: list[Job]) -> None:
        begun = time.perf_counter()
        if Isolation(line, self.config, lambda i: engine.open_hand(line, i), self.deaths).run(jobs, self.stop):
            self.report.isolated_blocks += len(jobs)
            for job in jobs:
                self._count(job.report())
        self.report.work_s += time.perf_counter() - begun

    def _count(self, block: BlockReport) -> None:
        self.finished[block.index] = True
        self.report.add(block, gpus=self.gpus)
        if self.report.blocks % FOLD == 0:
            self.store.fold(self.tables)
        self.on_progress(block)
        if not self.stop.requested and self.enough(self.report):
            self.stop.request()


def open_engine(config: EngineConfig, demand: Demand | None = None) -> Engine:
    """The engine of this kind; Ray is imported only for its own."""
    if config.kind == "local":
        return LocalEngine(config)
    from curate.engine.ray_data import RayEngine

    return RayEngine(config, demand)


def _needed(steps: Sequence[Step], jobs: Jobs) -> tuple[int, ...]:
    """Positions of the steps that have something to do."""
    making, scoring = jobs.makes, jobs.scores
    return tuple(i for i, step in enumerate(steps) if making or step.name in scoring)


def _check_order(steps: Sequence[Step]) -> None:
    phases = [step.phase for step in steps]
    if phases != sorted(phases):  # "makes" < "scores"
        raise ValueError("steps that make candidates stand before those that score them")
    names = [step.name for step in steps if step.phase == "scores"]
    if len(set(names)) != len(names):
        raise ValueError(f"two scorers of one name: {names}")
