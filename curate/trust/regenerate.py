"""Make a unit again, in the shape of its block, and hold the result against what is committed.

Batch size and place in the batch reach the last bits of a float, so the unit keeps its place and is repeated in the
others, as the engine does for units in isolation. On CPU equal versions give equal bytes; on a GPU pixels are compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from curate.engine import Step
from curate.engine.opened import Opened
from curate.errors import StoreError
from curate.images import decode, to_array
from curate.interfaces import ROLES
from curate.records import Work
from curate.run.config import RunConfig
from curate.run.stages import make_stages
from curate.store import RunStore
from curate.trust.evidence import Evidence

CLOSE = 2.0
"""Mean difference (of 255) up to which pixels that a GPU made count as the same."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One image made again."""

    role: str
    same_bytes: bool
    mean: float
    """Mean and largest difference of the pixels, of 255."""
    largest: float


class Remaker:
    """Holds the experts, so that several units cost one loading."""

    def __init__(self, store: RunStore, config: RunConfig) -> None:
        self.store = store
        self.steps: Sequence[Step] = [step for step in make_stages(config) if step.phase == "makes"]
        self.on_gpu = any(step.resources and step.resources.gpus > 0 for step in self.steps)
        self._opened = Opened(self.steps)

    def remake(self, evidence: Evidence) -> list[Difference]:
        """StoreError when the unit was not made, or cannot be made now (with the reason)."""
        unit_id = evidence.unit.unit_id
        if not evidence.image_sums:
            raise StoreError(f"unit {unit_id}: was not made, so there is nothing to compare with")
        work = Work(evidence.block, images={unit_id: {}})
        for i in range(len(self.steps)):
            work = self._opened.compute(i, work)
            if unit_id in work.failures:
                failure = work.failures[unit_id]
                raise StoreError(f"unit {unit_id}: cannot be made again: {failure.stage}: {failure.reason}")
        before = self.store.load_images([unit_id])[unit_id]
        return [compare(role, before[role], work.images[unit_id][role]) for role in ROLES]

    def close(self) -> None:
        """Let the models go."""
        self._opened.close()

    def passes(self, differences: Sequence[Difference]) -> bool:
        """Equal bytes, or on a GPU nearly equal pixels."""
        return all(one.same_bytes or (self.on_gpu and one.mean <= CLOSE) for one in differences)


def compare(role: str, before: bytes, now: bytes) -> Difference:
    """Two encoded images; of different sizes the difference is infinite."""
    if before == now:
        return Difference(role, True, 0.0, 0.0)
    a, b = to_array(decode(before)).astype(np.int16), to_array(decode(now)).astype(np.int16)
    if a.shape != b.shape:
        return Difference(role, False, float("inf"), float("inf"))
    apart = np.abs(a - b)
    return Difference(role, False, float(apart.mean()), float(apart.max()))
