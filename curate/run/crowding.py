"""Whether the workers on a GPU fit into its memory, by what they took in the pilot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from curate.engine import Step
from curate.engine.pools import Pool, fit_pools, make_pools, place
from curate.errors import ConfigError, EngineError
from curate.run.config import RunConfig
from curate.run.forecast import ENDLESS
from curate.run.pilot import PilotFigures
from curate.run.placement import CONTEXT_BYTES, gpu_memory_bytes, total_cpus, total_gpus
from curate.run.wording import size


def crowded(config: RunConfig, pilot: PilotFigures, steps: Sequence[Step]) -> list[str]:
    """A warning for each kind of GPU that would have to hold more than it has, on the GPUs that the config plans for.

    Nothing where their memory is unknown (``cluster.gpu_memory_gb``), or where the workers find no place at all: then
    the engine refuses them.
    """
    pools = make_pools(steps, range(len(steps)), fuse=config.engine.fuse)
    gpus = total_gpus(config)
    try:
        have = gpu_memory_bytes(config)
        counts = fit_pools(pools, cpus=total_cpus(config), gpus=gpus, num_jobs=ENDLESS, demand=pilot.demand)
    except (ConfigError, EngineError):
        return []
    cards = Counter(tuple(card) for card in place(pools, counts, gpus) or [])
    return [_warning([pools[i] for i in card], times, pilot, have) for card, times in cards.items()
            if sum(worker_bytes(pools[i], pilot) for i in card) > have]


def worker_bytes(pool: Pool, pilot: PilotFigures) -> int:
    """On its GPU, with the CUDA context. Stages that share a worker were measured together, so the largest counts; 0
    where the pilot ran them on no GPU."""
    seen = [pilot.stages[name] for name in pool.stages if name in pilot.stages]
    peak = max((stage.memory for stage in seen if stage.gpus > 0), default=0)
    return peak + CONTEXT_BYTES if peak else 0


def _warning(on_card: Sequence[Pool], times: int, pilot: PilotFigures, have: int) -> str:
    parts = ", ".join(f"{pool.name} {size(worker_bytes(pool, pilot))}" for pool in on_card)
    need = sum(worker_bytes(pool, pilot) for pool in on_card)
    return (f"warning: {times} GPU(s) of {size(have)} would hold {size(need)} by the pilot ({parts}): raise "
            "resources.gpus of these stages, or say gpus: auto")
