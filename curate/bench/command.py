"""``curate bench``: make what is missing, measure, and write bench.json, bench.md, scores.jsonl and grid.png."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from curate.bench.config import BenchConfig, load_bench_config
from curate.bench.grid import draw_grid
from curate.bench.items import BenchItem
from curate.bench.making import Outcome, count_missing, make_images
from curate.bench.render import render_markdown
from curate.bench.scoring import score_outcomes
from curate.bench.sources import read_items
from curate.bench.summary import Summary, summarise
from curate.bench.systems import FolderSystem, PipelineSystem, clashing_items
from curate.config import Lines
from curate.errors import BudgetError, ConfigError
from curate.files import write_atomic, write_json
from curate.images import encode
from curate.models import pinned
from curate.progress import Progress
from curate.versions import versions_in_use

INTERRUPTED = 130


def run_bench(path: Path, overrides: tuple[str, ...] = (), *, dry_run: bool = False) -> int:
    """Bench the systems of a config; the same command again makes only what is missing. 0 = done, 130 = stopped.

    Raises ConfigError and SourceError before anything is made, and ModelError where a metric's model cannot be loaded
    or the commit of a hub id cannot be had; ModelError where a system's model cannot be loaded; BudgetError after the
    report where more images failed than the config allows.
    """
    config, lines = load_bench_config(path, overrides)
    config = pinned(config)
    items = read_items(config.bench)
    check_patterns(config, items, path, lines)
    out = Path(config.output)
    say(f"{len(items)} items ({_counted(items)}), {len({item.subject for item in items})} subjects")
    missing = {system.name: count_missing(system, items, out) for system in config.systems}
    for name, count in missing.items():
        say(f"{name}: {count} images to be made")
    if dry_run:
        return 0
    if any(missing[system.name] for system in config.systems if isinstance(system, PipelineSystem)):
        for metric in config.metrics:  # hours of drawing are lost on a model that is not there
            metric.load("cpu")
    try:
        outcomes = make_all(config, items, out)
    except KeyboardInterrupt:
        say("stopped; what was made is kept. Run the same command again to go on.")
        return INTERRUPTED
    measures = [metric.load(pick_device(config)) for metric in config.metrics]
    scores = score_outcomes(outcomes, measures, config.combined)
    summary = {"bench": path.stem, "config": config.model_dump(mode="json"), "versions": versions_in_use(),
               **summarise_config(config, scores)}
    write_report(out, summary, scores, outcomes, rows=config.grid_rows)
    say(f"report: {out / 'bench.md'}, {out / 'bench.json'}, {out / 'grid.png'}")
    check_failures(scores, config, out)
    return 0


def make_all(config: BenchConfig, items: Sequence[BenchItem], out: Path) -> dict[str, list[Outcome]]:
    """System -> an outcome for every item, one system after the other."""
    device = pick_device(config)
    outcomes: dict[str, list[Outcome]] = {}
    for system in config.systems:
        with Progress(len(items), done=len(items) - count_missing(system, items, out)) as progress:
            outcomes[system.name] = make_images(system, items, out, device=device, on_progress=progress.update)
    return outcomes


def summarise_config(config: BenchConfig, scores: pd.DataFrame) -> Summary:
    """The summary that a config asks for."""
    return summarise(scores, config.columns, baselines=config.compared, quoted=config.bench.quoted,
                     seed=config.bench.seed, resamples=config.resamples)


def write_report(out: Path, summary: Summary, scores: pd.DataFrame, outcomes: Mapping[str, Sequence[Outcome]], *,
                 rows: int) -> None:
    """All files of the report; bench.json is the last."""
    records = json.loads(scores.to_json(orient="records", double_precision=6))  # NaN becomes null
    lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    write_atomic(out / "scores.jsonl", lines.encode())
    write_atomic(out / "grid.png", encode(draw_grid(outcomes, rows=rows)))
    write_atomic(out / "bench.md", render_markdown(summary).encode())
    write_json(out / "bench.json", summary)


def check_patterns(config: BenchConfig, items: Sequence[BenchItem], file: Path, lines: Lines) -> None:
    """A folder's pattern must tell all items apart, and its folder must be there."""
    for at, system in enumerate(config.systems):
        if not isinstance(system, FolderSystem):
            continue
        place = ("systems", at)
        if not Path(system.root).is_dir():
            raise ConfigError(f"no folder {system.root}; put {system.name}'s images there, named like {system.pattern}",
                              file=file, key=f"systems.{at}.root", line=lines.get((*place, "root")))
        strays = [item for item in items if not system.holds(item)]
        if strays:
            raise ConfigError(f"{system.pattern} leads out of {system.root} for {strays[0].item_id}: "
                              f"{system.path_of(strays[0])}", file=file, key=f"systems.{at}.pattern",
                              line=lines.get((*place, "pattern")))
        clash = clashing_items(system, items)
        if clash is not None:
            first, second = clash
            raise ConfigError(f"{system.pattern} leads to one file for {first.item_id} and {second.item_id}; add a "
                              "field such as {seed} or use {id}", file=file, key=f"systems.{at}.pattern",
                              line=lines.get((*place, "pattern")))


def check_failures(scores: pd.DataFrame, config: BenchConfig, out: Path) -> None:
    """BudgetError where too many images failed; the message says whose and how many."""
    asked = scores[scores["status"] != "skipped"]
    failed = asked[asked["status"] == "failed"]
    if len(failed) > config.max_failed_fraction * len(asked):
        by_system = ", ".join(f"{name} {count}" for name, count in failed["system"].value_counts().items())
        raise BudgetError(f"{len(failed)} of {len(asked)} images failed ({by_system}); "
                          f"reasons are in {out / 'bench.md'}")


def pick_device(config: BenchConfig) -> str:
    """``auto``: the GPU if there is one."""
    import torch

    if config.device != "auto":
        return config.device
    return "cuda" if torch.cuda.is_available() else "cpu"


def say(text: str) -> None:
    """A line for the user."""
    print(text, file=sys.stderr, flush=True)


def _counted(items: Sequence[BenchItem]) -> str:
    counts = pd.Series([item.task for item in items]).value_counts(sort=False)
    return ", ".join(f"{task} {count}" for task, count in counts.items())
