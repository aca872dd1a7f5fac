"""Units one by one, each in a worker that may die: how the one that kills its worker is told from its block mates.

Only deaths that this process saw count. If the whole run is killed in the middle, nothing is held against anyone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from curate.engine.advance import Line
from curate.engine.config import EngineConfig
from curate.engine.jobs import Job
from curate.engine.steps import live_units
from curate.errors import EngineError
from curate.records import Failure, Unit, Work
from curate.stop import StopFlag


class WorkerDiedError(Exception):
    """A worker process ended without an answer. ``loading``: it had not finished loading its model."""

    def __init__(self, detail: str, *, loading: bool) -> None:
        super().__init__(detail)
        self.loading = loading


class Hand(Protocol):
    """A worker process that runs a few steps, those of one pool."""

    @property
    def positions(self) -> Sequence[int]:
        """Of the steps it can run."""
        ...

    def run(self, i: int, work: Work) -> Work:
        """The result of step ``i``, loaded when first asked for. Raises what the step raises, or WorkerDiedError."""
        ...

    def close(self) -> None: ...


class Deaths:
    """Workers lost so far, against the limit of the run."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.count = 0

    def add(self, number: int = 1, *, where: str) -> None:
        """Count; EngineError when it is too many."""
        self.count += number
        if number and self.count >= self.limit:
            raise EngineError(f"{self.count} workers died, the last in {where}: more likely the machine (memory?) than "
                              "the inputs. What is finished is kept; engine.max_deaths sets this limit")


class Isolation:
    """Runs jobs step by step (each model is loaded once) and within a step unit by unit.

    ``open_hand`` starts a worker for the step at a position.
    """

    def __init__(self, line: Line, config: EngineConfig, open_hand: Callable[[int], Hand], deaths: Deaths) -> None:
        self._line, self._config, self._open_hand, self._deaths = line, config, open_hand, deaths
        self._hand: Hand | None = None

    def run(self, jobs: Sequence[Job], stop: StopFlag) -> bool:
        """Finish the jobs; False when stopped between two steps."""
        try:
            for i in self._line.needed:
                for job in jobs:
                    if stop.requested:
                        return False
                    self._line.advance(job, [i], self._compute)
        finally:
            self._close()
        return True

    def _compute(self, i: int, work: Work) -> Work:
        step = self._line.steps[i]
        for unit in live_units(work):
            alone = self._run_alone(i, unit, work)
            if isinstance(alone, Failure):
                work.failures[unit.unit_id] = alone
            else:
                work.images.update(alone.images)
                work.failures.update(alone.failures)
                work.captions.update(alone.captions)
                for name, rows in alone.scores.items():
                    work.scores.setdefault(name, {}).update(rows)
        if step.phase == "scores":
            work.scores.setdefault(step.name, {})
        return work

    def _run_alone(self, i: int, unit: Unit, work: Work) -> Work | Failure:
        step = self._line.steps[i]
        deaths = loading_deaths = 0
        while deaths < self._config.unit_attempts:
            try:
                alone = Work(work.block, images={unit.unit_id: dict(work.images[unit.unit_id])},
                             captions={unit.unit_id: dict(work.captions.get(unit.unit_id, {}))})
                return self._hand_for(i).run(i, alone)
            except WorkerDiedError as error:
                self._close()
                self._deaths.add(where=f"stage {step.name}")
                if not error.loading:
                    deaths += 1
                    continue
                loading_deaths += 1
                if loading_deaths >= self._config.unit_attempts:
                    raise EngineError(f"stage {step.name}: its worker dies while loading ({error})") from error
        stage = "worker" if step.phase == "makes" else step.name
        return Failure(stage, f"killed its worker {deaths} times")

    def _hand_for(self, i: int) -> Hand:
        if self._hand is not None and i not in self._hand.positions:
            self._close()
        if self._hand is None:
            self._hand = self._open_hand(i)
        return self._hand

    def _close(self) -> None:
        if self._hand is not None:
            self._hand.close()
            self._hand = None
