"""Worker pools: which stages share a worker, and how many workers fit. Checked before anything starts.

All pools run at the same time, so all must fit together: Ray would wait for ever for a CPU that is never free.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from curate.engine.steps import Step
from curate.errors import EngineError
from curate.interfaces import Resources

EPSILON = 1e-9


@dataclass(frozen=True, slots=True)
class Pool:
    """Neighbouring steps that run in the same workers."""

    positions: tuple[int, ...]
    name: str
    """Names of the stages, joined by ``+``."""
    resources: Resources
    """Of one worker."""

    @property
    def stages(self) -> list[str]:
        """Their names."""
        return self.name.split("+")


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


Demand = Mapping[str, float]
"""Stage -> seconds of a worker that one planned unit costs there, as a pilot measured it."""


def fit_pools(pools: Sequence[Pool], *, cpus: float, gpus: float, num_jobs: int, demand: Demand | None = None,
              ) -> list[int]:
    """Workers of each pool; of a pool with a range its least.

    Pools that leave it open get, with a ``demand``, workers where the line is slowest until that one cannot grow
    (greatest throughput for what there is); else one more in turn, GPU pools first, while they fit.
    EngineError names the stage that asks for too much and the setting to lower.
    """
    counts = [pool.resources.replicas or 1 for pool in pools]
    for what, have in (("cpus", cpus), ("gpus", gpus)):
        _check(pools, counts, what, have)
    if not packs(pools, counts, gpus):
        parts = ", ".join(f"{pool.name} {n} x {pool.resources.gpus:g}" for pool, n in zip(pools, counts, strict=True))
        raise EngineError(f"the stages do not fit on {gpus:g} gpus, because no worker is spread over two ({parts}): "
                          "lower their resources.gpus or replicas")

    def fits(more: Sequence[int]) -> bool:
        return _sum(pools, more, "cpus") <= cpus and _sum(pools, more, "gpus") <= gpus and packs(pools, more, gpus)

    if demand is not None:
        return _balanced(pools, counts, demand, num_jobs, fits)
    return _filled(pools, counts, num_jobs, fits)


def cost_of(pool: Pool, demand: Demand) -> float:
    """Seconds that one planned unit takes in a worker of the pool."""
    return sum(demand.get(name, 0.0) for name in pool.stages)


def packs(pools: Sequence[Pool], counts: Sequence[int], gpus: float) -> bool:
    """Whether the workers find GPUs."""
    return place(pools, counts, gpus) is not None


def place(pools: Sequence[Pool], counts: Sequence[int], gpus: float) -> list[list[int]] | None:
    """For each GPU the workers on it, by the numbers of their pools; None if they do not all find one.

    Pool after pool, a share of a GPU always lies on a single one: the fullest that can take it, as Ray does.
    """
    free = [1.0] * int(gpus)
    on: list[list[int]] = [[] for _ in free]
    for number, (pool, count) in enumerate(zip(pools, counts, strict=True)):
        share = pool.resources.gpus
        for _ in range(count if share > 0 else 0):
            chosen = _room(free, share)
            if not chosen:
                return None
            for i in chosen:
                free[i] -= min(share, 1.0)
                on[i].append(number)
    return on


def _room(free: Sequence[float], share: float) -> list[int]:
    """GPUs for one worker; none if it finds no room."""
    if share >= 1:
        whole = [i for i, rest in enumerate(free) if rest == 1.0]
        return whole[:int(share)] if len(whole) >= share else []
    room = [i for i, rest in enumerate(free) if rest >= share - EPSILON]
    return [min(room, key=lambda i: free[i])] if room else []


def _balanced(pools: Sequence[Pool], counts: list[int], demand: Demand, num_jobs: int,
              fits: Callable[[Sequence[int]], bool]) -> list[int]:
    costs = [cost_of(pool, demand) for pool in pools]
    while True:
        slowest = max(range(len(pools)), key=lambda i: costs[i] / counts[i])
        more = [n + (i == slowest) for i, n in enumerate(counts)]
        if pools[slowest].resources.replicas is not None or counts[slowest] >= num_jobs or not fits(more):
            return counts
        counts = more


def _filled(pools: Sequence[Pool], counts: list[int], num_jobs: int, fits: Callable[[Sequence[int]], bool],
            ) -> list[int]:
    growing = [i for i, pool in enumerate(pools) if pool.resources.replicas is None]
    growing.sort(key=lambda i: -pools[i].resources.gpus)
    while growing:
        still = []
        for i in growing:
            more = [n + (j == i) for j, n in enumerate(counts)]
            if counts[i] < num_jobs and fits(more):
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
