"""Loaded steps: each is opened once, when it is first needed, and computes with its own thread count."""

from __future__ import annotations

import time
from collections.abc import Sequence

from curate.engine.memory import peak_bytes
from curate.engine.steps import Apply, Step, step_resources
from curate.engine.threads import current_threads, fix_threads, prepare_process
from curate.records import Work


class Opened:
    """The steps that one process runs."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = steps
        self._calls: dict[int, Apply] = {}
        self.seconds = 0.0
        """Spent on loading."""
        self._threads_before = current_threads()
        prepare_process()

    def open(self, positions: Sequence[int]) -> None:
        """Load these steps now. ModelError where one cannot be loaded."""
        begun = time.perf_counter()
        for i in positions:
            if i not in self._calls:
                self._fix_threads(i)
                self._calls[i] = self._steps[i].open()
        self.seconds += time.perf_counter() - begun

    def compute(self, i: int, work: Work) -> Work:
        """Step ``i`` on a block."""
        self.open([i])
        self._fix_threads(i)
        done = self._calls[i](work)
        done.memory[self._steps[i].name] = peak_bytes(gpu=step_resources(self._steps[i]).gpus > 0)
        return done

    def close(self) -> None:
        """Let the models go, and leave the process with the threads it had."""
        self._calls.clear()
        if self._threads_before is not None:
            fix_threads(self._threads_before, gpu=False)

    def _fix_threads(self, i: int) -> None:
        resources = step_resources(self._steps[i])
        fix_threads(resources.cpus, gpu=resources.gpus > 0)
