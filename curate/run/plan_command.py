"""``curate plan``: what a config will do and need, before the money is spent; with ``--pilot`` what it will cost."""

from __future__ import annotations

from pathlib import Path

from curate.engine import StopFlag, execute
from curate.files import as_path, write_json
from curate.run.command import check_budget, say, seal_with, summary, write_timings
from curate.run.config import DEFAULT_CONFIG, RunConfig, load_config
from curate.run.crowding import crowded
from curate.run.describing import describe
from curate.run.estimate import needs_of
from curate.run.forecast import Forecast, forecast
from curate.run.pilot import (
    FILE,
    OTHER,
    PilotFigures,
    measured,
    pilot_config,
    pilot_folder,
    read_pilot,
    renewed,
    subject_of,
)
from curate.run.placement import load_placed, placed, total_cpus, total_gpus
from curate.run.planning import make_plan, open_run, run_info
from curate.run.stages import make_stages
from curate.run.wording import forecast_text, needs_text

INTERRUPTED = 130


def plan_config(path: Path | None, overrides: tuple[str, ...], num_units: int | None) -> int:
    """Print the plan of a config to stdout; with ``num_units`` run its pilot first. 0, or 130 when interrupted."""
    config, _ = load_placed(load_config(path or DEFAULT_CONFIG, overrides))
    plan = make_plan(config)
    config = plan.config  # with hub ids pinned
    print(describe(plan))
    file = as_path(pilot_folder(config)) / FILE
    if num_units is not None and not run_pilot(config, num_units, file):
        return INTERRUPTED
    figures = read_pilot(file) if file.exists() else None
    if figures is not None and figures.of != subject_of(config):
        say(f"{file} {OTHER}; run --pilot again")
        figures = None
    needs = needs_of(config, plan.units, figures)
    print(needs_text(needs))
    if figures is None:
        print("Speed, yield and cost: unknown; `--pilot N` makes N units and measures them.")
        return 0
    print(forecast_text(config, figures, forecast_of(config, figures), num_units=len(plan.units), file=file))
    fitted = placed(config, figures)
    for warning in crowded(fitted, figures, make_stages(fitted)):
        say(warning)
    return 0


def run_pilot(config: RunConfig, num_units: int, file: Path) -> bool:
    """Make, score and seal the first units beside the run and write pilot.json; False when interrupted.

    A pilot that is whole already is only sealed again: its figures stay, but for what other rules keep.
    """
    small = pilot_config(config, num_units)
    plan = make_plan(small)
    small = plan.config
    steps = make_stages(small)
    store = open_run(plan, run_info(small)).store
    say(f"pilot of {num_units} units in {small.output}")
    stop = StopFlag()
    with stop.on_signals():
        report = execute(store, steps, small.engine, stop=stop)
    if report.blocks:
        write_timings(as_path(small.output), report)
    if report.stopped:
        return False
    sealed = seal_with(store, small)
    say(summary(sealed))
    check_budget(sealed, small.model_copy(update={"failures": small.failures.model_copy(update={"max_fraction": 1.0})}))
    figures = measured(small, store, steps, report, sealed)
    if file.exists() and report.made + report.failed + report.rejected < sealed.planned:
        figures = renewed(read_pilot(file), figures, [step.name for step in steps])
    write_json(file, figures.model_dump(mode="json"))
    return True


def forecast_of(config: RunConfig, figures: PilotFigures) -> Forecast:
    """On the GPUs and CPUs that the config plans for."""
    fitted = placed(config, figures)
    return forecast(make_stages(fitted), figures, fuse=config.engine.fuse, cpus=total_cpus(config),
                    gpus=total_gpus(config))


