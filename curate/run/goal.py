"""``until:`` in a run config: how a run knows that it has done enough."""

from __future__ import annotations

import json
from pathlib import Path

from curate.engine import BlockReport, EngineReport, Step
from curate.engine.steps import step_resources
from curate.errors import ConfigError
from curate.report import TIMINGS
from curate.run.config import RunConfig
from curate.run.stages import score_tables
from curate.seal import count_kept
from curate.store import RunStore


class Goal:
    """Asked after every block. Judging all units takes a while, so it is done only when the goal may be reached: as
    many blocks have been made as are missing. ``reached`` says in words what was reached, "" = nothing yet."""

    def __init__(self, store: RunStore, config: RunConfig, steps: list[Step]) -> None:
        self._store, self._config = store, config
        self._until = config.until
        self._made_since = 0
        self.reached = ""
        if self._until.gpu_hours is not None and not any(step_resources(step).gpus for step in steps):
            raise ConfigError("no stage holds a GPU, so this would never be reached", key="until.gpu_hours")
        self._hours_before = hours_so_far(store.root) if self._until.gpu_hours is not None else 0.0
        self._kept = self._count() if self._until.kept is not None else 0

    def add(self, block: BlockReport) -> None:
        """A block was committed."""
        self._made_since += max(block.made, *block.scored.values(), 0)

    def check(self, report: EngineReport) -> bool:
        """Whether to stop; ``report`` is that of the running call."""
        until = self._until
        if until.kept is not None and self._kept + self._made_since >= until.kept:
            self._kept, self._made_since = self._count(), 0
            if self._kept >= until.kept:
                self.reached = f"until.kept: {self._kept} triplets are kept (goal {until.kept})"
        hours = self._hours_before + report.gpu_hours
        if until.gpu_hours is not None and hours >= until.gpu_hours:
            self.reached = f"until.gpu_hours: {hours:.3g} GPU-hours held (goal {until.gpu_hours:g})"
        return bool(self.reached)

    def _count(self) -> int:
        config = self._config
        return count_kept(self._store, rules=config.rules, near_duplicates=config.near_duplicates,
                          scorers=score_tables(self._store))


def hours_so_far(folder: Path) -> float:
    """GPU-hours held by earlier calls of the engine on a run directory, from its journal of timings."""
    path = folder / TIMINGS
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return sum(float(json.loads(line).get("gpu_hours", 0.0)) for line in lines)
