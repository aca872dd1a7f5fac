"""``engine:`` in a run config: where the stages run. Nothing here changes a byte of the result."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from curate.config import StrictModel


class EngineConfig(StrictModel):
    """``local`` runs all stages in this process, one after the other; ``ray`` streams blocks through worker pools."""

    kind: Literal["local", "ray"] = "local"
    address: str | None = None
    """A running Ray cluster (``auto``, ``host:6379``). None: the one that RAY_ADDRESS names (so inside ``ray job
    submit``), else one is started on this machine and ended afterwards."""
    cpus: int | None = Field(default=None, ge=1)
    """CPUs of the Ray that is started here; None = those this process may use."""
    gpus: int | None = Field(default=None, ge=0)
    """GPUs of the Ray that is started here; None = those that torch sees, if a stage asks for one."""
    object_store_mb: int = Field(default=512, ge=80)
    """Shared memory of the Ray that is started here: blocks on their way between two pools. 80 MB is Ray's minimum."""
    fuse: bool = True
    """Neighbouring stages with equal resources share one worker. Set false when their models do not fit one GPU."""
    block_attempts: int = Field(default=2, ge=1)
    """Workers that a block may cost before its units are run one by one."""
    unit_attempts: int = Field(default=3, ge=1)
    """Workers that a unit may cost when run alone before it is recorded as failed."""
    max_deaths: int = Field(default=50, ge=1)
    """Workers that a run may lose before it stops: then it is the machine, not a few bad inputs."""
