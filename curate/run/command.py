"""``curate run`` and ``curate seal``: plan, make, score, seal, and say what came out. Returns the exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from curate.config import apply_overrides, load_yaml, parse
from curate.dataset.ids import read_ids
from curate.engine import BlockReport, EngineReport, StopFlag, execute
from curate.errors import BudgetError, ConfigError
from curate.files import append_line, as_path
from curate.progress import Progress, count
from curate.report import REPORT, TIMINGS
from curate.run.config import DEFAULT_CONFIG, RunConfig, load_config
from curate.run.crowding import crowded
from curate.run.goal import Goal
from curate.run.pilot import check_pilot
from curate.run.placement import load_placed
from curate.run.plan_apart import plan_apart
from curate.run.planning import with_commits
from curate.run.stages import make_stages, score_tables
from curate.seal import SealReport, seal
from curate.store import RunStore

INTERRUPTED = 130
MAX_FAILURES = 10
"""Reasons of failed units that are printed: each names a file, so there may be as many as units."""


def run_config(path: Path | None, overrides: tuple[str, ...], *, dry_run: bool, retry_failed: bool) -> int:
    """Make, score and seal the triplets of a config. 0 = all accounted for, 130 = stopped on request."""
    config, pilot = load_placed(load_config(path or DEFAULT_CONFIG, overrides))
    config = with_commits(config)
    if pilot is not None:
        check_pilot(pilot, config)
    planned = plan_apart(config, write=not dry_run)
    say(planned.text)
    if pilot is not None:
        for warning in crowded(config, pilot, make_stages(config)):
            say(warning)
    if dry_run:
        return 0
    if planned.note:
        say(planned.note)
    store = RunStore.open(as_path(config.output), sweep=False)  # planning has
    goal = Goal(store, config, make_stages(config))
    report = generate(store, config, goal, demand=pilot.demand if pilot else None, retry_failed=retry_failed)
    if goal.reached:
        say(f"{goal.reached}: enough. The same command with a larger goal goes on from here.")
    elif report.stopped:
        say("stopped; all finished blocks are kept. Run the same command again to go on, or "
            f"`curate seal {config.output}` to write shards of what is there.")
        return INTERRUPTED
    sealed = seal_with(store, config)
    say(summary(sealed))
    if report.work_s:
        say(f"start-up {report.startup_s:.1f} s, work {report.work_s:.1f} s")
    say(next_step(config.output))
    check_budget(sealed, config, enough=bool(goal.reached))
    return 0


def seal_run(folder: Path, rules: Path | None, overrides: tuple[str, ...], ids: Path | None = None) -> int:
    """Seal a run again, with the rules and near-duplicate setting of another file if given, and of the units in a list
    only."""
    store = RunStore.open(folder)
    selected = read_ids(ids, store.plan.table(["unit_id"]).column(0).to_pylist()) if ids else None
    values = dict(store.info["config"])
    if rules is not None:
        given, lines = load_yaml(rules)
        if "rules" not in given:
            raise ConfigError("no `rules:` here", file=rules)
        changed = {**values, **{key: given[key] for key in ("rules", "near_duplicates") if key in given}}
        parse(RunConfig, changed, file=rules, lines=lines)
        values = changed
    config = parse(RunConfig, apply_overrides(values, overrides), file=folder / "run.json")
    sealed = seal_with(store, config, selected)
    store.update_info({**store.info, "config": config.model_dump(mode="json")})
    say(summary(sealed))
    say(next_step(str(folder)))
    return 0


def generate(store: RunStore, config: RunConfig, goal: Goal, *, demand: Mapping[str, float] | None = None,
             retry_failed: bool = False) -> EngineReport:
    """Run the engine over what is missing until the goal, with progress and Ctrl-C handled."""
    if goal.check(EngineReport(config.engine.kind)):  # reached by an earlier call
        return EngineReport(config.engine.kind)
    stop, done = StopFlag(), store.standing().num_done
    with stop.on_signals(), Progress(len(store.plan), done=done) as progress:
        counts = _Counts(progress, goal, done)
        report = execute(store, make_stages(config), config.engine, on_progress=counts, stop=stop, enough=goal.check,
                         demand=demand, retry_failed=retry_failed)
    if report.blocks:
        write_timings(as_path(config.output), report)
    return report


def write_timings(folder: Path, report: EngineReport) -> None:
    """Append what a call of the engine took: for `curate stats`, never for the dataset."""
    keys = ("kind", "startup_s", "work_s", "blocks", "made", "stages", "replicas")
    facts = {key: value for key, value in asdict(report).items() if key in keys}
    facts["gpu_hours"] = report.gpu_hours
    append_line(folder / TIMINGS, json.dumps(facts))


class _Counts:
    """Adds up the engine's block reports for the progress display and the goal."""

    def __init__(self, progress: Progress, goal: Goal, done: int) -> None:
        self.progress, self.goal, self.done = progress, goal, done
        self.made = self.failed = self.rejected = 0

    def __call__(self, block: BlockReport) -> None:
        self.goal.add(block)
        self.made += block.made
        self.failed += block.failed
        self.rejected += block.rejected
        self.done += block.made + block.failed + block.rejected
        self.progress.update(self.done, made=self.made, rejected=self.rejected or None, failed=self.failed)


def seal_with(store: RunStore, config: RunConfig, selected: frozenset[str] | None = None) -> SealReport:
    """Seal by the rules, duplicates setting and shard settings of a config."""
    return seal(store, rules=config.rules, near_duplicates=config.near_duplicates, config=config.shards,
                scorers=score_tables(store), selected=selected)


def check_budget(sealed: SealReport, config: RunConfig, *, enough: bool = False) -> None:
    """BudgetError when units are missing (unless there were ``enough``) or more failed than the config allows."""
    failed = sum(sealed.failed.values())
    allowed = config.failures.max_fraction * (sealed.planned - sealed.pending if enough else sealed.planned)
    if sealed.pending and not enough:
        raise BudgetError(f"{sealed.pending} of {sealed.planned} units are neither made nor failed: run it again")
    if failed > allowed:
        raise BudgetError(f"{failed} of {sealed.planned} units failed and failures.max_fraction allows {allowed:g}; "
                          f"`curate stats {config.output}` names the reasons, --retry-failed tries them again")


def summary(sealed: SealReport) -> str:
    """The accounts: planned = kept + rejected + failed + pending, and where the shards are."""
    counts = [f"kept {sealed.kept}", f"rejected {sum(sealed.rejected.values())}",
              f"failed {sum(sealed.failed.values())}",
              *([f"pending {sealed.pending} (`curate run` makes or scores them)"] if sealed.pending else [])]
    told = [*sealed.rejected.items(), *list(sealed.failed.items())[:MAX_FAILURES]]
    reasons = "".join(f"\n  {n:6d}  {reason}" for reason, n in told)
    if len(sealed.failed) > MAX_FAILURES:
        rest = sum(list(sealed.failed.values())[MAX_FAILURES:])
        reasons += f"\n  {rest:6d}  failed for {len(sealed.failed) - MAX_FAILURES} other reasons: `curate stats`"
    return (f"{sealed.planned} planned: {', '.join(counts)}{reasons}\n{count(len(sealed.shards), 'shard')} in "
            f"{sealed.folder}")


def next_step(run: str) -> str:
    """What to do after a seal: ``run`` as the user calls it."""
    if as_path(run).joinpath(REPORT).exists():
        return f"{run}/{REPORT} shows the former seal: `curate report {run}` writes it anew"
    return f"next: `curate report {run}` shows what was kept and why"


def say(text: str) -> None:
    """To stderr: stdout is for results that a program reads."""
    print(text, file=sys.stderr, flush=True)
