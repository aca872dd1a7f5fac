"""Where stages go: ``gpus: auto`` becomes a number, and a pilot tells how much work each stage is.

Several stages share a GPU when the memory that they took in the pilot fits beside each other.
"""

from __future__ import annotations

import math
import os
from typing import TypeVar

from curate.config import StageConfig
from curate.engine.local import count_gpus
from curate.errors import ConfigError
from curate.files import as_path
from curate.run.config import RunConfig
from curate.run.pilot import PilotFigures, read_pilot

CONTEXT_BYTES = 600 << 20
"""What a process takes on a GPU before its first tensor: CUDA context and cuBLAS workspaces (estimate)."""
MARGIN = 1.1
"""Over the measured peak: allocators fragment, and the pilot has not seen every input."""
CAPTION = "caption"
"""Name of the captioner's stage (``curate.engine.CaptionStep``)."""
Config = TypeVar("Config")


def load_placed(config: RunConfig) -> tuple[RunConfig, PilotFigures | None]:
    """The config with every ``gpus: auto`` resolved, and the pilot that ``cluster.pilot`` names."""
    pilot = read_pilot(as_path(config.cluster.pilot)) if config.cluster.pilot else None
    return placed(config, pilot), pilot


def placed(config: RunConfig, pilot: PilotFigures | None) -> RunConfig:
    """``gpus: auto`` as the share that the stage's memory in the pilot needs; without a pilot an equal share of the
    GPUs that are there, and none on a machine without."""
    stages = stage_configs(config)
    auto = [name for name, stage in stages.items() if isinstance(stage, StageConfig) and stage.resources.gpus == "auto"]
    if not auto:
        return config
    shares = dict.fromkeys(auto, _equal_share(len(auto), total_gpus(config)))
    if pilot is not None and total_gpus(config):
        shares = {name: _measured_share(name, pilot, config) for name in auto}

    def give(name: str, stage: Config) -> Config:
        if not isinstance(stage, StageConfig) or name not in shares:
            return stage
        return stage.model_copy(update={"resources": stage.resources.model_copy(update={"gpus": shares[name]})})

    return config.model_copy(update={
        "captioner": give(CAPTION, config.captioner),
        "experts": {verb: give(verb, expert) for verb, expert in config.experts.items()},
        "scorers": {name: give(name, scorer) for name, scorer in config.scorers.items()}})


def stage_configs(config: RunConfig) -> dict[str, object]:
    """Stage -> its config, of all stages that load something."""
    captioner = {} if config.captioner is None else {CAPTION: config.captioner}
    return {**captioner, **{str(verb): expert for verb, expert in config.experts.items()}, **config.scorers}


def total_gpus(config: RunConfig) -> int:
    """GPUs to plan for."""
    given = config.cluster.gpus if config.cluster.gpus is not None else config.engine.gpus
    return count_gpus() if given is None else given


def total_cpus(config: RunConfig) -> int:
    """CPUs to plan for."""
    return config.cluster.cpus or config.engine.cpus or len(os.sched_getaffinity(0))


def gpu_memory_bytes(config: RunConfig) -> int:
    """Of one GPU. ConfigError when neither the config nor torch knows it."""
    if config.cluster.gpu_memory_gb is not None:
        return int(config.cluster.gpu_memory_gb * 2**30)
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.get_device_properties(0).total_memory)
    raise ConfigError("resources.gpus: auto needs it, and torch sees no GPU to ask", key="cluster.gpu_memory_gb")


def _equal_share(num_stages: int, gpus: int) -> float:
    return min(1.0, math.floor(100 * gpus / num_stages) / 100)


def _measured_share(name: str, pilot: PilotFigures, config: RunConfig) -> float:
    stage = pilot.stages.get(name)
    if stage is None or stage.gpus == 0:
        raise ConfigError(f"resources.gpus of {name} is auto, and the pilot did not run it on a GPU: run `curate plan "
                          "--pilot` there, or give a number", key="cluster.pilot")
    share = math.ceil(100 * MARGIN * (stage.memory + CONTEXT_BYTES) / gpu_memory_bytes(config)) / 100
    return 1.0 if share > 0.5 else share  # beside more than half of a GPU no equal one fits
