"""Worker pools: which stages share a worker, and how many workers fit. Checked before anything starts.

All pools run at the same time, so all must fit together: Ray would wait for ever for a CPU that is never free.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from curate.engine.steps import Step
from curate.errors import EngineError
from curate.interfaces import Resources


@dataclass(frozen=True, slots=True)
class Pool:
    """Neighbouring steps that run in the same workers."""

    positions: tuple[int, ...]
    name: str
    """Names of the stages, joined by ``+``."""
    resources: Resources
    """Of one worker."""


def make_pools(steps: Sequence[Step], positions: Sequence[int], *, fuse: bool) -> list[Pool]:
    """Neighbours with equal resources go together. A step without resources joins the next pool if that has no GPU."""
    runs: list[tuple[list[int], Resources]] = []
    light: list[int] = []
    for i in positions:
        wanted = steps[i].resources
        if wanted is None:
            light.append(i)
            continue
        if light and wanted.gpus > 0:
            runs.append((light, Resources()))
            light = []
        if fuse and not light and runs and runs[-1][1] == wanted:
            runs[-1][0].append(i)
        else:
            runs.append(([*light, i], wanted))
        light = []
    if light:
        runs.append((light, Resources()))
    return [Pool(tuple(run), "+".join(steps[i].name for i in run), wanted) for run, wanted in runs]


def fit_pools(pools: Sequence[Pool], *, cpus: float, gpus: float, num_jobs: int) -> list[int]:
    """Workers of each pool. Pools that leave it open get one more in turn, GPU pools first, while they fit.

    EngineError names the stage that asks for too much and the setting to lower.
    """
    counts = [pool.resources.replicas or 1 for pool in pools]
    for what, have in (("cpus", cpus), ("gpus", gpus)):
        _check(pools, counts, what, have)
    growing = [i for i, pool in enumerate(pools) if pool.resources.replicas is None]
    growing.sort(key=lambda i: -pools[i].resources.gpus)
    while growing:
        still = []
        for i in growing:
            more = [n + (j == i) for j, n in enumerate(counts)]
            if counts[i] < num_jobs and _sum(pools, more, "cpus") <= cpus and _sum(pools, more, "gpus") <= gpus:
                counts = more
                still.append(i)
        growing = still
    return counts


def _sum(pools: Sequence[Pool], counts: Sequence[int], what: str) -> float:
    return sum(float(getattr(pool.resources, what)) * n for pool, n in zip(pools, counts, strict=True))


def _check(pools: Sequence[Pool], counts: Sequence[int], what: str, have: float) -> None:
    for pool in pools:
        wanted = getattr(pool.resources, what)
        if wanted > have:
            raise EngineError(f"stage {pool.name} wants {wanted:g} {what} and there are {have:g}: "
                              f"lower its resources.{what}")
    total = _sum(pools, counts, what)
    if total > have:
        parts = ", ".join(f"{pool.name} {n} x {getattr(pool.resources, what):g}"
                          for pool, n in zip(pools, counts, strict=True))
        raise EngineError(f"the stages run at the same time and want {total:g} {what} together ({parts}); there are "
                          f"{have:g}: lower their resources.{what} or replicas, or give neighbours equal resources so "
                          "that they share workers")
