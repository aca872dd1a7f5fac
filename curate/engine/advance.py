"""One block through some of its stages: who is live, what is committed when. The same for every engine.

How a step computes is handed in (``compute``): a loaded model in this process, or a worker that runs unit by unit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from curate.engine.captioning import CaptionStep
from curate.engine.jobs import Job, to_skip
from curate.engine.making import ExpertStep, provenance_of
from curate.engine.scoring import ScoreStep
from curate.engine.steps import Step, live_units
from curate.interfaces import ROLES
from curate.records import CaptionField, Work
from curate.store import RunStore, captions_in

Compute = Callable[[int, Work], Work]
"""Position of a step and the work for it -> the work done."""


@dataclass(frozen=True, slots=True)
class Line:
    """The stages of a run and where they commit."""

    store: RunStore
    steps: tuple[Step, ...]
    needed: tuple[int, ...]
    """Positions of the steps that have anything to do: scoring old candidates loads no expert."""
    journal: bool = False
    """Note each beginning in the store: for engines whose process dies with the block."""

    @property
    def scorers(self) -> list[ScoreStep]:
        """The steps that score."""
        return [step for step in self.steps if isinstance(step, ScoreStep)]

    @property
    def last_maker(self) -> int:
        """Position of the step after which candidates are committed; -1 if there is none."""
        return max((i for i, step in enumerate(self.steps) if step.phase == "makes"), default=-1)

    def advance(self, job: Job, part: Sequence[int], compute: Compute) -> None:
        """Take the job through the steps at these positions."""
        for i in part:
            step = self.steps[i]
            if isinstance(step, ScoreStep):
                self._score(job, i, step, compute)
            elif job.make and not job.committed:
                self._make(job, i, step, compute)

    def _make(self, job: Job, i: int, step: Step, compute: Compute) -> None:
        if self.journal and i == 0:
            self.store.begin_attempt(job.open_block.block_id)
        job.images[step.name] = job.images.get(step.name, 0) + len(live_units(job.work))
        job.work = _timed(compute, i, step, job.work)
        if i == self.last_maker:
            self._commit(job)

    def _commit(self, job: Job) -> None:
        work = job.work
        done = Work(job.open_block, images=work.images, failures=work.failures, captions=work.captions,
                    seconds=work.seconds)
        self.store.commit_candidates(done, provenance=provenance(self.steps))
        job.committed = True
        for unit_id, images in work.images.items():
            work.images[unit_id] = {role: images[role] for role in ROLES if role in images}

    def _score(self, job: Job, i: int, step: ScoreStep, compute: Compute) -> None:
        made = job.make - job.work.failures.keys()
        wanted = made | job.score.get(step.name, frozenset())
        units = {unit.unit_id: unit for unit in job.block.units}
        wanted -= to_skip(step, set(wanted), units, job.known, self.scorers)
        if not wanted:
            return
        if self.journal:
            self.store.begin_attempt(job.block.block_id, stage=step.name)
        mine = _timed(compute, i, step, Work(
            job.block, images={u: self._images(job, u) for u in units if u in wanted},
            captions={u: self._captions(job, u) for u in units if u in wanted}))
        rows = mine.scores[step.name]
        self.store.commit_scores(step.name, step.fingerprint, job.block, rows, mine.failures)
        job.known.setdefault(step.name, {}).update(rows)
        job.work.scores[step.name] = rows
        job.work.seconds[step.name] = mine.seconds[step.name]
        job.work.memory |= mine.memory
        job.scored[step.name] = job.images[step.name] = len(wanted)

    @staticmethod
    def _captions(job: Job, unit_id: str) -> dict[CaptionField, str]:
        return job.work.captions.get(unit_id) or captions_in(job.rows.get(unit_id, {}))

    def _images(self, job: Job, unit_id: str) -> dict[str, bytes]:
        if unit_id not in job.work.images:
            job.work.images[unit_id] = self.store.read_images(unit_id, job.rows[unit_id])
        return job.work.images[unit_id]


def provenance(steps: Sequence[Step]) -> dict[str, object]:
    """What goes beside every candidate: the seed of the run, and who its experts are, by verb."""
    makers = [step for step in steps if isinstance(step, ExpertStep)]
    writers = [step for step in steps if isinstance(step, CaptionStep)]
    return {"experts": {step.call.verb: provenance_of(step.expert) for step in makers},
            **({"captioner": provenance_of(writers[0].captioner)} if writers else {}),
            **({"seed": makers[0].run_seed} if makers else {})}


def _timed(compute: Compute, i: int, step: Step, work: Work) -> Work:
    begun = time.perf_counter()
    done = compute(i, work)
    done.seconds[step.name] = done.seconds.get(step.name, 0.0) + time.perf_counter() - begun
    return done
