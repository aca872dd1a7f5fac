"""What the engine tells while it runs (a ``BlockReport`` a block) and at the end (one ``EngineReport``)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class BlockReport:
    """One block is committed. Counts are of this pass: a block that only lacked scores has made = failed = 0."""

    index: int
    block_id: str
    made: int
    failed: int
    scored: Mapping[str, int]
    """Scorer -> units scored (those it could not score too)."""
    seconds: Mapping[str, float]
    """Stage -> wall seconds of the whole block."""
    images: Mapping[str, int]
    """Stage -> images read or made, or triplets scored."""
    memory: Mapping[str, int] = field(default_factory=dict)
    """Stage -> most bytes that its worker held (see ``curate.engine.memory``)."""
    rejected: int = 0
    """Units that were turned down before an expert worked for them."""


@dataclass(slots=True)
class StageTotal:
    """One stage over the whole run, all its workers together."""

    seconds: float = 0.0
    images: int = 0
    gpu_s: float = 0.0
    """``seconds`` times the share of a GPU that a worker held."""
    memory: int = 0
    """Most bytes that one of its workers held."""


@dataclass(slots=True)
class EngineReport:
    """What a call of ``execute`` did."""

    kind: str
    startup_s: float = 0.0
    """Until the first block could begin: Ray, worker processes, imports, model loading."""
    work_s: float = 0.0
    """From then to the end."""
    blocks: int = 0
    made: int = 0
    failed: int = 0
    rejected: int = 0
    gpus: float = 0.0
    """GPUs that all workers together hold now (``hold`` says it)."""
    gpu_s: float = 0.0
    """GPU-seconds that they held before ``since``."""
    since: float = field(default_factory=time.time, compare=False)
    stages: dict[str, StageTotal] = field(default_factory=dict)
    replicas: dict[str, int] = field(default_factory=dict)
    """Stages of one worker pool (joined by ``+``) -> workers. Empty for the local engine."""
    isolated_blocks: int = 0
    """Blocks that were run unit by unit because they kept killing their workers."""
    deaths: int = 0
    """Workers lost, as far as this process saw."""
    stopped: bool = False
    """A stop was asked for before everything was done: run the same again to go on."""

    def add(self, block: BlockReport, *, gpus: Mapping[str, float]) -> None:
        """Count a finished block; ``gpus`` is each stage's share of a GPU."""
        self.blocks += 1
        self.made += block.made
        self.failed += block.failed
        self.rejected += block.rejected
        for stage, seconds in block.seconds.items():
            total = self.stages.setdefault(stage, StageTotal())
            total.seconds += seconds
            total.gpu_s += seconds * gpus.get(stage, 0.0)
            total.images += block.images.get(stage, 0)
            total.memory = max(total.memory, block.memory.get(stage, 0))

    def hold(self, gpus: float) -> None:
        """From now on the workers hold so many GPUs."""
        now = time.time()
        self.gpu_s += self.gpus * (now - self.since)
        self.gpus, self.since = gpus, now

    @property
    def gpu_hours(self) -> float:
        """GPU-hours held so far, busy or not: what a provider bills, start-up of the cluster apart."""
        return (self.gpu_s + self.gpus * (time.time() - self.since)) / 3600
