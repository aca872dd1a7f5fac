"""From a config to a run directory with a plan: sources scanned, experts identified, units written down."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from curate import seeds
from curate.config import StageConfig
from curate.engine import provenance_of
from curate.errors import ConfigError
from curate.files import as_path
from curate.models import pinned
from curate.planning import build_units, calls
from curate.run.config import RunConfig
from curate.sources import ScanReport
from curate.store import RunStore
from curate.unit_columns import UnitColumns
from curate.versions import versions_in_use

Stage = TypeVar("Stage")


@dataclass(frozen=True, slots=True)
class Plan:
    """What a config asks for, before anything is made."""

    config: RunConfig
    """As given, with hub ids pinned to commits."""
    units: UnitColumns
    scans: dict[str, ScanReport]


@dataclass(frozen=True, slots=True)
class Makers:
    """Who makes images and captions, as unit ids know it."""

    experts: dict[str, dict[str, object]]
    """By verb."""
    captioner: dict[str, object] | None


def make_plan(config: RunConfig) -> Plan:
    """Scan the sources and plan the units; reads images and hashes model files, loads no model. ConfigError where the
    experts cannot draw at the run's size."""
    config = with_commits(config)
    check_sizes(config)
    return plan_units(config, maker_identities(config))


def maker_identities(config: RunConfig) -> Makers:
    """Hashes files of local models, which takes a while where they are large."""
    return Makers({verb: expert.identity() for verb, expert in config.experts.items()},
                  config.captioner.identity() if config.captioner else None)


def plan_units(config: RunConfig, makers: Makers) -> Plan:
    """``config``: with hub ids pinned to commits."""
    scans = {name: source.scan(name) for name, source in config.sources.items()}
    units = build_units(
        config.recipe, items={name: scan.items for name, scan in scans.items()}, experts_identity=makers.experts,
        seed=config.seed, size=config.size, val_fraction=config.val_fraction, fit=config.fit, limit=config.limit,
        captioner=makers.captioner)
    return Plan(config, units, {name: scan.report for name, scan in scans.items()})


def check_sizes(config: RunConfig) -> None:
    """ConfigError where an expert of the recipe can draw one size only (its ``draws_px``) and the run has another."""
    for verb in sorted({call.verb for call in calls(config.recipe)} & config.experts.keys()):
        expert = config.experts[verb]
        draws_px = getattr(expert, "draws_px", None)
        only = draws_px() if draws_px else None
        if only and only != (config.size, config.size):
            width, height = only
            named = getattr(expert, "model", expert.kind)
            way = f"set size: {width}, or take an expert that draws at {config.size}" if width == height else \
                "the triplets of a run are square, so give the expert a size rule instead of width and height"
            raise ConfigError(f"{named} draws {width} x {height} px only, and the run's pictures are {config.size} x "
                              f"{config.size} px (size): {way}", key=f"experts.{verb}")


def with_commits(config: RunConfig) -> RunConfig:
    """The hub ids of experts, captioner and scorers pinned to commits. ModelError where that cannot be done."""
    return config.model_copy(update={
        "experts": {verb: _pinned(expert) for verb, expert in config.experts.items()},
        "captioner": _pinned(config.captioner),
        "scorers": {name: _pinned(scorer) for name, scorer in config.scorers.items()}})


def _pinned(stage: Stage) -> Stage:
    return pinned(stage) if isinstance(stage, StageConfig) else stage


@dataclass(frozen=True, slots=True)
class OpenedRun:
    """A run directory that holds the plan; ``note`` says what happened to a plan that was there before."""

    store: RunStore
    note: str = ""


def open_run(plan: Plan, info: Mapping[str, Any]) -> OpenedRun:
    """Make the run directory, reopen it, or, when the config now means other units, put the new plan beside the old.
    ``info``: see ``run_info``."""
    config, root = plan.config, as_path(plan.config.output)
    info = {**info, "sources": {name: report._asdict() for name, report in plan.scans.items()}}
    if not (root / "run.json").exists():
        return OpenedRun(RunStore.create(root, info, plan.units, config.block))
    store = RunStore.open(root)
    if store.holds(plan.units, config.block):
        store.update_info(info)
        return OpenedRun(store)
    reused = store.extend_plan(plan.units, config.block, info=info)
    return OpenedRun(store, f"{root} held another plan: sources, recipe, seed, size or experts changed. Now "
                            f"{len(plan.units)} units are planned; {reused} of them are made already.")


def run_info(config: RunConfig) -> dict[str, Any]:
    """What run.json says of the run beside what its sources gave: the resolved config, who the models are, versions."""
    return {
        "config": config.model_dump(mode="json"),
        "experts": {verb: provenance_of(expert) for verb, expert in config.experts.items()},
        **({"captioner": provenance_of(config.captioner)} if config.captioner else {}),
        "scorers": {name: scorer.identity() for name, scorer in config.scorers.items()},
        "versions": versions_in_use(),
    }


def fingerprint(identity: Mapping[str, object]) -> str:
    """16 hex digits that change when a scorer's numbers may: the name of its folder of scores."""
    return seeds.digest(json.dumps(identity, sort_keys=True), size=8)
