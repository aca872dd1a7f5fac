"""What a plan needs, counted and estimated without running anything: units, calls, models, memory, disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import BaseModel

from curate.interfaces import ROLES
from curate.planning import calls
from curate.run.config import RunConfig
from curate.run.pilot import PilotFigures
from curate.run.placement import stage_configs
from curate.run.weights import ModelSize, model_sizes
from curate.unit_columns import UnitColumns

RAW_PIXEL_BYTES = 3
JPEG_SHARE = 0.35
"""Of raw pixels, for photographs at quality 95 without chroma subsampling (estimate; drawings take less)."""


@dataclass(frozen=True, slots=True)
class StageNeeds:
    """One stage that loads or computes something."""

    name: str
    kind: str
    calls: int
    """Units that go through it, at most (a cascade spares some)."""
    gpus: float | str
    cpus: int
    models: tuple[ModelSize, ...]
    measured_bytes: int | None
    """Of the pilot."""

    @property
    def loaded_bytes(self) -> int | None:
        """Of the weights of all its models; None where some are unknown."""
        known = [model.loaded_bytes for model in self.models if model.loaded_bytes is not None]
        return sum(known) if known and len(known) == len(self.models) else None


@dataclass(frozen=True, slots=True)
class Disk:
    """Bytes; ``measured``: scaled up from the pilot, else estimates."""

    candidates: float
    shards: float
    weights: int
    """Of models, still to be downloaded, as far as the hub tells."""
    unknown: tuple[str, ...]
    """Models whose size it does not tell."""
    measured: bool


@dataclass(frozen=True, slots=True)
class Needs:
    """All of it."""

    units: int
    blocks: int
    sides: dict[str, int]
    layouts: dict[str, int]
    stages: tuple[StageNeeds, ...]
    disk: Disk


def needs_of(config: RunConfig, units: UnitColumns, pilot: PilotFigures | None) -> Needs:
    """The needs of a plan. Reads headers of weight files, here or on the hub; loads no model."""
    used = {call.verb for call in calls(config.recipe)}
    stages = [_stage(name, stage, len(units), pilot) for name, stage in stage_configs(config).items()
              if name not in config.experts or name in used]
    return Needs(units=len(units), blocks=-(-len(units) // config.block), sides=units.sides.counts(),
                 layouts=units.layouts.counts(), stages=tuple(stages),
                 disk=_disk(config, len(units), pilot, {model.name: model for s in stages for model in s.models}))


def _stage(name: str, config: object, num_units: int, pilot: PilotFigures | None) -> StageNeeds:
    resources = getattr(config, "resources", None)
    seen = pilot.stages.get(name) if pilot else None
    return StageNeeds(name=name, kind=str(getattr(config, "kind", "")), calls=num_units,
                      gpus=getattr(resources, "gpus", 0.0), cpus=getattr(resources, "cpus", 1),
                      models=tuple(model_sizes(config)) if isinstance(config, BaseModel) else (),
                      measured_bytes=seen.memory if seen else None)


def _disk(config: RunConfig, num_units: int, pilot: PilotFigures | None, models: Mapping[str, ModelSize]) -> Disk:
    """``models``: by name, for one that several stages load is downloaded once."""
    weights = sum(model.missing_bytes for model in models.values())
    unknown = tuple(name for name, model in models.items() if model.file_bytes is None)
    if pilot is not None and pilot.decided:
        kept = num_units * pilot.kept / pilot.decided
        return Disk(num_units * pilot.candidate_bytes_per_unit, kept * pilot.shard_bytes_per_kept, weights, unknown,
                    measured=True)
    raw = num_units * len(ROLES) * config.size**2 * RAW_PIXEL_BYTES
    return Disk(raw, raw * (JPEG_SHARE if config.shards.format == "jpg" else 1.0), weights, unknown, measured=False)
