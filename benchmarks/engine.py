"""What the engines cost: `python benchmarks/engine.py [CONFIG] [--repeats 3]`.

The same models, batches and units: a bare loop in this process (nothing is stored; with one torch thread, and with one
for each core), the local engine, and Ray. Work is from the first block to the last; start-up (Ray, workers, imports,
loading models) stands apart. Ratio = bare / engine: above 1 the engine is quicker, because it uses more cores.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from curate.engine import execute
from curate.records import Work
from curate.run.config import DEFAULT_CONFIG, RunConfig, load_config
from curate.run.planning import Plan, make_plan, open_run, run_info
from curate.run.stages import make_stages
from curate.store import RunStore

Seconds = tuple[float, float]
"""Start-up, work."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", nargs="?", type=Path, default=DEFAULT_CONFIG)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    config = load_config(arguments.config, ("cascade=[]",))
    plan = make_plan(config)
    cores = len(os.sched_getaffinity(0))
    ways: dict[str, Callable[[], Seconds]] = {
        "bare loop, 1 thread": lambda: bare(config, plan, 1),
        f"bare loop, {cores} threads": lambda: bare(config, plan, cores),
        "local engine": lambda: by_engine(config, plan, "local"),
        "ray engine": lambda: by_engine(config, plan, "ray"),
    }
    taken: dict[str, list[Seconds]] = {name: [] for name in ways}
    for _ in range(arguments.repeats):  # side by side, so that a slow minute of the machine hits all
        for name, way in ways.items():
            taken[name].append(way())
    base = statistics.median(work for _, work in taken["bare loop, 1 thread"])
    best = min(statistics.median(work for _, work in taken[name]) for name in list(ways)[:2])
    print(f"{len(plan.units)} units, {cores} cores, median of {arguments.repeats}\n")
    print("| | start-up s | work s | units/s | bare 1 thread / this | best bare / this |\n|---|---|---|---|---|---|")
    for name, pairs in taken.items():
        start, work = (statistics.median(column) for column in zip(*pairs, strict=True))
        cells = (start, work, len(plan.units) / work, base / work, best / work)
        print(f"| {name} | {' | '.join(f'{cell:.2f}' for cell in cells)} |")


def bare(config: RunConfig, plan: Plan, threads: int) -> Seconds:
    """All stages over all blocks in this process; nothing is written."""
    with tempfile.TemporaryDirectory() as folder:
        blocks = opened(moved(config, folder), plan).blocks()
    begun = time.perf_counter()
    applies = [step.open() for step in make_stages(config)]
    torch.set_num_threads(threads)
    loaded = time.perf_counter()
    for block in blocks:
        work = Work(block, images={unit.unit_id: {} for unit in block.units})
        for apply in applies:
            work = apply(work)
    return loaded - begun, time.perf_counter() - loaded


def by_engine(config: RunConfig, plan: Plan, kind: str) -> Seconds:
    """A run into a fresh directory, without sealing."""
    with tempfile.TemporaryDirectory() as folder:
        here = moved(config, folder)
        engine = here.engine.model_copy(update={"kind": kind})
        report = execute(opened(here, plan), make_stages(here), engine)
    return report.startup_s, report.work_s


def opened(here: RunConfig, plan: Plan) -> RunStore:
    """A run directory with the plan."""
    return open_run(Plan(here, plan.units, plan.scans), run_info(here)).store


def moved(config: RunConfig, folder: str) -> RunConfig:
    """The config with another output directory."""
    return config.model_copy(update={"output": f"{folder}/run"})


if __name__ == "__main__":
    main()
