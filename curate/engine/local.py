"""The local engine: all stages in this process, block after block. The twin that the Ray engine must agree with.

Should a unit kill the process, the journal in the store tells the next call: a block with ``block_attempts`` dead
attempts is not begun again here but handed back, to be run unit by unit in child processes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from curate.engine.advance import Line
from curate.engine.child import Child
from curate.engine.config import EngineConfig
from curate.engine.isolation import Deaths, Hand
from curate.engine.jobs import Job
from curate.engine.opened import Opened
from curate.engine.reports import BlockReport, EngineReport
from curate.errors import EngineError
from curate.stop import StopFlag
from curate.store import RunStore


class LocalEngine:
    """See ``curate.engine.driver.Engine``."""

    journal = True

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self.gpus = 0.0

    def start(self, line: Line, num_jobs: int) -> dict[str, int]:
        """EngineError when a stage wants a GPU that is not there. CPUs are not checked: stages run one at a time."""
        steps = [line.steps[i] for i in line.needed]
        self.gpus = float(max((step.resources.gpus for step in steps if step.resources), default=0.0))
        wanting = [step.name for step in steps if step.resources and step.resources.gpus > 0]
        if wanting and count_gpus() == 0:
            raise EngineError(f"stage {wanting[0]} wants a GPU and torch sees none: set its resources.gpus to 0")
        return {}

    def run(self, line: Line, jobs: Iterable[Job], on_block: Callable[[BlockReport], None], stop: StopFlag,
            report: EngineReport, deaths: Deaths) -> set[int]:
        """Numbers of the blocks that must be isolated."""
        opened = Opened(line.steps)
        suspects = set()
        try:
            for job in jobs:
                if stop.requested:
                    break
                if dead_attempts(line.store, line, job) >= self._config.block_attempts:
                    suspects.add(job.block.index)
                    continue
                self._run_block(line, job, opened, report)
                on_block(job.report())
        finally:
            opened.close()  # before isolation loads the same models again beside us
        return suspects

    @staticmethod
    def _run_block(line: Line, job: Job, opened: Opened, report: EngineReport) -> None:
        begun = time.perf_counter()
        loaded_before_s = opened.seconds
        opened.open(needed_steps(line, job))
        loading_s = opened.seconds - loaded_before_s
        try:
            line.advance(job, line.needed, opened.compute)
        except KeyboardInterrupt:
            forget_attempts(line.store, line, job)
            raise
        report.startup_s += loading_s
        report.work_s += time.perf_counter() - begun - loading_s

    def open_hand(self, line: Line, i: int) -> Hand:
        """A child process for all steps, as this one is."""
        return Child(line.steps, line.needed)

    def close(self) -> None:
        """Nothing was started."""


def needed_steps(line: Line, job: Job) -> list[int]:
    """Positions of the steps that this job may go through."""
    return [i for i in line.needed if job.make or line.steps[i].name in job.score]


def dead_attempts(store: RunStore, line: Line, job: Job) -> int:
    """How often a stage of this block was begun by processes that then died."""
    return max([store.attempts(job.open_block.block_id),
                *(store.attempts(job.block.block_id, stage=s.name) for s in line.scorers)])


def forget_attempts(store: RunStore, line: Line, job: Job) -> None:
    """A second Ctrl-C is nobody's fault."""
    store.clear_attempts(job.open_block.block_id)
    for step in line.scorers:
        store.clear_attempts(job.block.block_id, stage=step.name)


def count_gpus() -> int:
    """GPUs that torch sees."""
    import torch

    return torch.cuda.device_count()
