"""The lines that ``curate plan`` prints."""

from __future__ import annotations

import math
from pathlib import Path

from curate.progress import duration, pace
from curate.run.config import RunConfig
from curate.run.estimate import Needs, StageNeeds
from curate.run.forecast import Forecast, Interval, Share
from curate.run.pilot import PilotFigures


def needs_text(needs: Needs) -> str:
    """Counts, stages with their models and memory, disk."""
    split = ", ".join(f"{n} {name}" for name, n in sorted({**needs.sides, **needs.layouts}.items()))
    lines = [f"{needs.units} units in {needs.blocks} blocks ({split})", "", "Stages:"]
    lines += [_stage_text(stage) for stage in needs.stages]
    disk = needs.disk
    how = "scaled up from the pilot" if disk.measured else "estimate: candidates at most, shards if all are kept"
    more = f" and {len(disk.unknown)} models of unknown size" if disk.unknown else ""
    lines += ["", f"Disk: candidates {size(disk.candidates)}, shards {size(disk.shards)} ({how}); weights to download "
                  f"{size(disk.weights)}{more}"]
    return "\n".join(lines)


def _stage_text(stage: StageNeeds) -> str:
    where = f"{stage.cpus} cpu" + (f", {stage.gpus} gpu" if stage.gpus else "")
    memory = f"; a worker took {size(stage.measured_bytes)} in the pilot" if stage.measured_bytes else ""
    lines = [f"  {stage.name} ({stage.kind}): {stage.calls} calls at most; {where} a worker{memory}"]
    for model in stage.models:
        file = f"unknown ({model.why})" if model.file_bytes is None else f"{size(model.file_bytes)} of files"
        fetch = f" ({size(model.missing_bytes)} to download)" if model.missing_bytes else ""
        loaded = "unknown" if model.loaded_bytes is None else f"{size(model.loaded_bytes)} and activations"
        lines.append(f"    {model.name}: {file}{fetch}, memory {loaded}")
    if len(stage.models) > 1:
        whole = "unknown" if stage.loaded_bytes is None else f"{size(stage.loaded_bytes)} and activations"
        lines.append(f"    together: memory {whole}")
    return "\n".join(lines)


def forecast_text(config: RunConfig, pilot: PilotFigures, line: Forecast, *, num_units: int, file: Path) -> str:
    """Yield, workers, throughput, GPU-hours, cost, time."""
    lines = ["", f"Pilot of {pilot.units} units on this machine: kept {pilot.kept} of {pilot.decided}, "
                 f"yield {percent(line.yields)}", "",
             f"Balanced workers on {line.gpus:g} gpus and {line.cpus:g} cpus (engine ray):"]
    for share in line.shares:
        rate = pace(1 / share.unit_s) if share.unit_s else "-"
        needs = f"{share.pool.resources.gpus:g} gpu, " if share.pool.resources.gpus else ""
        lines.append(f"  {share.workers} x {share.pool.name} ({needs}{share.pool.resources.cpus} cpu each): "
                     f"{rate} a worker, busy {share.busy:.0%}")
        lines += _parts(share, pilot)
    lines += ["", f"Throughput: {pace(line.units_per_s)} units, {pace(line.units_per_s * line.yields.mid)} kept"]
    if line.gpus:
        lines.append(f"GPU-hours per 1,000 kept: {span(line.gpu_hours_per_1000)}")
        price = config.cluster.price_per_gpu_hour
        hours = line.gpu_hours_per_1000
        cost = ("unknown (set cluster.price_per_gpu_hour)" if price is None else
                span(Interval(hours.low * price, hours.mid * price, hours.high * price)))
        lines.append(f"Cost per 1,000 kept: {cost}")
    else:
        lines.append(f"CPU-hours per 1,000 kept: {span(line.cpu_hours_per_1000)} (no stage holds a GPU)")
    if config.until.kept is not None:
        lines.append(f"Time to {config.until.kept} kept: {times(line.hours_to(config.until.kept))}")
        needed = config.until.kept / line.yields.mid if line.yields.mid else math.inf
        if needed > num_units:
            lines.append(f"The plan has {num_units} units and the goal needs about {needed:.0f}: give more sources or "
                         "a larger recipe" if math.isfinite(needed) else "The pilot kept nothing: see its reasons")
    lines.append(f"Time for the whole plan: {duration(num_units / line.units_per_s)}")
    lines.append(f"`--set cluster.pilot={file}` places a run by these figures.")
    return "\n".join(lines)


def _parts(share: Share, pilot: PilotFigures) -> list[str]:
    """The stages that share a worker, one by one."""
    names = share.pool.stages
    if len(names) == 1:
        return []
    seconds = {name: pilot.demand.get(name, 0.0) for name in names}
    return [f"      {name}: {pace(1 / s) if s else '-'} alone, {s / share.unit_s if share.unit_s else 0:.0%} of the "
            "worker's time" for name, s in seconds.items()]


def span(interval: Interval) -> str:
    """``12.3 (95 %: 10.1 to 15)``."""
    return f"{interval.mid:.3g} (95 %: {interval.low:.3g} to {interval.high:.3g})"


def percent(interval: Interval) -> str:
    """``74% (95 %: 68% to 79%)``."""
    return f"{interval.mid:.0%} (95 %: {interval.low:.0%} to {interval.high:.0%})"


def times(hours: Interval) -> str:
    """The same of durations."""
    low, mid, high = ("never" if math.isinf(h) else duration(h * 3600) for h in (hours.low, hours.mid, hours.high))
    return f"{mid} (95 %: {low} to {high})"


def size(num_bytes: float) -> str:
    """Bytes with a binary unit."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if num_bytes < 1024:
            return f"{num_bytes:.3g} {unit}" if unit != "B" else f"{num_bytes:.0f} B"
        num_bytes /= 1024
    return f"{num_bytes:.3g} TiB"
