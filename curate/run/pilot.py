"""The pilot: a few units of a plan made, scored and sealed for real, and what was measured on the way (pilot.json)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from curate import seeds
from curate.config import StrictModel
from curate.engine import EngineReport, Step
from curate.engine.steps import step_resources
from curate.errors import ConfigError
from curate.run.config import RunConfig
from curate.run.planning import fingerprint
from curate.seal import SealReport
from curate.store import RunStore

FILE = "pilot.json"
OTHER = "is of another config (experts, captioner, scorers, rules, size, block, cascade or recipe changed)"


class StageFigures(StrictModel):
    """One stage of the pilot."""

    seconds_per_unit: float
    """Of a worker's time, a planned unit: a cascade that spares units makes a stage cheaper."""
    memory: int
    """Most bytes that its worker held: on its GPU if it has one, else of the process."""
    gpus: float
    """Share of a GPU that its worker had."""


class PilotFigures(StrictModel):
    """What a pilot measured; nothing in it depends on how many GPUs there will be."""

    of: str
    """Hash of what was measured (experts, scorers, size, block, rules): another config needs another pilot."""
    units: int
    kept: int
    rejected: int
    failed: int
    stages: dict[str, StageFigures]
    startup_s: float
    candidate_bytes_per_unit: float
    shard_bytes_per_kept: float

    @property
    def demand(self) -> dict[str, float]:
        """Stage -> seconds of a worker a planned unit."""
        return {name: stage.seconds_per_unit for name, stage in self.stages.items()}

    @property
    def decided(self) -> int:
        """Units with a verdict."""
        return self.kept + self.rejected + self.failed


def pilot_folder(config: RunConfig) -> str:
    """The pilot's run directory, beside that of the run."""
    return config.output.rstrip("/") + ".pilot"


def pilot_config(config: RunConfig, num_units: int) -> RunConfig:
    """The config of the pilot: the first units of the plan (they have their share of every style), no goal."""
    until = type(config.until)()
    return config.model_copy(update={"output": pilot_folder(config), "limit": num_units, "until": until})


def subject_of(config: RunConfig) -> str:
    """Hash of everything that the figures depend on, the machine apart."""
    experts: dict[str, object] = {verb: expert.identity() for verb, expert in config.experts.items()}
    if config.captioner is not None:
        experts["captioner"] = config.captioner.identity()
    scorers = {name: scorer.identity() for name, scorer in config.scorers.items()}
    rules = [rule.model_dump(mode="json") for rule in config.rules]
    return seeds.digest(fingerprint({"experts": experts, "scorers": scorers, "rules": rules, "size": config.size,
                                     "fit": config.fit, "block": config.block, "cascade": list(config.cascade),
                                     "recipe": config.recipe.model_dump(mode="json")}), size=8)


def measured(config: RunConfig, store: RunStore, steps: list[Step], report: EngineReport, sealed: SealReport,
             ) -> PilotFigures:
    """Figures of a pilot that has just run. ``report`` covers the units that it made, failed or turned down; where it
    only scored, all of them."""
    worked = max(1, report.made + report.failed + report.rejected or sealed.planned)
    gpus = {step.name: step_resources(step).gpus for step in steps}
    stages = {name: StageFigures(seconds_per_unit=total.seconds / worked, memory=total.memory, gpus=gpus[name])
              for name, total in report.stages.items()}
    ledger = store.ledger()
    images = ledger[[name for name in ledger.columns if name.endswith("_bytes")]].to_numpy(dtype=float, na_value=0.0)
    shards = sum(shard.bytes for shard in sealed.shards)
    return PilotFigures(
        of=subject_of(config), units=sealed.planned, kept=sealed.kept, rejected=sum(sealed.rejected.values()),
        failed=sum(sealed.failed.values()), stages=stages, startup_s=report.startup_s,
        candidate_bytes_per_unit=float(images.sum()) / max(1, len(ledger)),
        shard_bytes_per_kept=shards / max(1, sealed.kept))


def renewed(old: PilotFigures, new: PilotFigures, stages: Sequence[str]) -> PilotFigures:
    """Figures of a pilot of which some units were there already: of its ``stages``, what did not run again keeps what
    it measured."""
    both = {name: figures for name, figures in (old.stages | new.stages).items() if name in stages}
    return new.model_copy(update={"stages": both, "startup_s": max(old.startup_s, new.startup_s)})


def check_pilot(pilot: PilotFigures, config: RunConfig) -> None:
    """ConfigError when a run would be placed by the figures of another config. ``config``: with hub ids pinned."""
    if pilot.of != subject_of(config):
        raise ConfigError(f"{config.cluster.pilot} {OTHER}, so its seconds and memory are not those of this run: run "
                          "`curate plan CONFIG --pilot N` again, or leave the pilot out", key="cluster.pilot")


def read_pilot(path: Path) -> PilotFigures:
    """The figures in a pilot.json. ConfigError when it is none."""
    try:
        return PilotFigures.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}); `curate plan CONFIG --pilot N` writes it",
                          key="cluster.pilot") from error
    except ValueError as error:
        raise ConfigError(f"{path} is not a pilot of this version; run `curate plan CONFIG --pilot N` again",
                          key="cluster.pilot") from error
