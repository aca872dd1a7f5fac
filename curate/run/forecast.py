"""From a pilot to a cluster: workers a stage, throughput, GPU-hours and cost per 1,000 triplets, time to go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import binomtest

from curate.engine import Step
from curate.engine.pools import Pool, cost_of, fit_pools, make_pools
from curate.run.pilot import PilotFigures

CONFIDENCE = 0.95
ENDLESS = 1 << 40


@dataclass(frozen=True, slots=True)
class Interval:
    """A number and its 95 % interval."""

    low: float
    mid: float
    high: float

    def inverse(self, factor: float) -> Interval:
        """``factor`` / x; an x of 0 gives infinity."""
        ends = [factor / x if x > 0 else float("inf") for x in (self.high, self.mid, self.low)]
        return Interval(*ends)


@dataclass(frozen=True, slots=True)
class Share:
    """One pool of workers in the forecast."""

    pool: Pool
    workers: int
    unit_s: float
    """Seconds of one worker a planned unit."""
    busy: float
    """Part of the time that its workers have something to do, when the slowest pool always has."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """A balanced line on the GPUs and CPUs given."""

    shares: tuple[Share, ...]
    units_per_s: float
    gpus: float
    cpus: float
    yields: Interval

    @property
    def gpu_hours_per_1000(self) -> Interval:
        """GPU-hours held for 1,000 kept triplets, idle workers included."""
        return self.yields.inverse(1000 * self.gpus / self.units_per_s / 3600)

    @property
    def cpu_hours_per_1000(self) -> Interval:
        """The same of CPU cores."""
        return self.yields.inverse(1000 * self.cpus / self.units_per_s / 3600)

    def hours_to(self, kept: int) -> Interval:
        """Hours to so many kept triplets, start-up apart."""
        return self.yields.inverse(kept / self.units_per_s / 3600)


def wilson(successes: int, trials: int) -> Interval:
    """Wilson's score interval of a share (Wilson 1927), by scipy. Nothing tried: anything is possible."""
    if trials == 0:
        return Interval(0.0, 0.0, 1.0)
    interval = binomtest(successes, trials).proportion_ci(CONFIDENCE, method="wilson")
    return Interval(float(interval.low), successes / trials, float(interval.high))


def forecast(steps: Sequence[Step], pilot: PilotFigures, *, fuse: bool, cpus: int, gpus: int) -> Forecast:
    """Workers of each pool such that the slowest is as quick as can be. EngineError when one of each does not fit.

    A linear model: workers of a pool do not slow each other down, and between pools nothing is lost. On one machine
    whose memory bus or disk they share that is too rosy; the pilot's own rate is printed beside it.
    """
    pools = make_pools(steps, range(len(steps)), fuse=fuse)
    counts = fit_pools(pools, cpus=cpus, gpus=gpus, num_jobs=ENDLESS, demand=pilot.demand)
    costs = [cost_of(pool, pilot.demand) for pool in pools]
    slowest = max(cost / count for cost, count in zip(costs, counts, strict=True))
    shares = tuple(Share(pool, count, cost, cost / count / slowest if slowest else 0.0)
                   for pool, count, cost in zip(pools, counts, costs, strict=True))
    return Forecast(shares, 1 / slowest if slowest else float("inf"),
                    gpus=sum(pool.resources.gpus * n for pool, n in zip(pools, counts, strict=True)),
                    cpus=sum(pool.resources.cpus * n for pool, n in zip(pools, counts, strict=True)),
                    yields=wilson(pilot.kept, pilot.decided))
