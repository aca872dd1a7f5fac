"""What a stage is to the engines: a small picklable object that opens into a callable from ``Work`` to ``Work``.

A step is pure computation. It works on the *live* units of a block (those with an entry in ``work.images`` and none in
``work.failures``), in the order of the block, and it opens no file of the run: committing is the engine's business.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

from curate.config import StageConfig
from curate.interfaces import Resources
from curate.records import Unit, Work

Apply = Callable[[Work], Work]


class Step(Protocol):
    """``makes``: part of making candidates; ``scores``: numbers for candidates that are committed."""

    @property
    def name(self) -> str: ...
    @property
    def phase(self) -> Literal["makes", "scores"]: ...
    @property
    def resources(self) -> Resources | None:
        """None = too light for a worker of its own: it shares the next step's, unless that one holds a GPU."""
        ...

    def open(self) -> Apply:
        """Load the models (seconds to minutes). ModelError where that is not possible."""
        ...


def live_units(work: Work) -> list[Unit]:
    """The units that a step works on."""
    return [u for u in work.block.units if u.unit_id in work.images and u.unit_id not in work.failures]


def resources_of(config: object) -> Resources:
    """Resources of an expert or scorer config; one CPU where it names none."""
    if not isinstance(config, StageConfig):
        return Resources()
    wanted = config.resources
    gpus = 0.0 if wanted.gpus == "auto" else wanted.gpus  # ``curate.run.placement`` has put a number there before
    if isinstance(wanted.replicas, tuple):
        return Resources(wanted.cpus, gpus, *wanted.replicas)
    return Resources(wanted.cpus, gpus, None if wanted.replicas == "auto" else wanted.replicas)


def device_of(resources: Resources) -> str:
    """Where a model of a stage lives: a worker sees only its own GPU, so it is always the first."""
    return "cuda" if resources.gpus > 0 else "cpu"


def step_resources(step: Step) -> Resources:
    """What the step takes when it is counted by itself."""
    return step.resources or Resources()
