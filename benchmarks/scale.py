"""Scale without GPUs: `python benchmarks/scale.py busy|plan|resume [--units N]`.

busy    experts that sleep as measured ones compute, `--replicas` workers on `--nodes` virtual Ray nodes: the part of
        the time in which they sleep, between the first and the last tenth of the blocks
plan    items -> units -> plan file: seconds and peak memory of this process
resume  a run with all units committed, `--block` a segment: seconds and peak memory until the driver knows that nothing
        is left
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from simulated import SIZE_PX, BlankSource, SleepExpert, sleeping_units, source_item

from curate.config import ResourcesConfig
from curate.engine import BlockReport, EngineConfig, ExpertStep, ReadInputs, Step, execute
from curate.engine.jobs import find_jobs
from curate.planning import FromStylizedConfig, build_units
from curate.records import ExpertCall, Unit
from curate.store import RunStore
from curate.store.candidates import SCHEMA

Result = TypeVar("Result")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("busy", "plan", "resume"))
    parser.add_argument("--units", type=int, default=10_000)
    parser.add_argument("--block", type=int, default=8)
    parser.add_argument("--replicas", type=int, default=64)
    parser.add_argument("--nodes", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=1.5, help="of an image")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.what == "busy":
            busy(Path(folder) / "run", arguments)
        elif arguments.what == "plan":
            plan(Path(folder) / "run", arguments.units, arguments.block)
        else:
            resume(Path(folder) / "run", arguments.units, arguments.block)


def busy(root: Path, arguments: argparse.Namespace) -> None:
    """One pool of sleeping workers, as many GPUs as workers (Ray takes our word for them)."""
    import ray
    from ray.cluster_utils import Cluster

    replicas, nodes = arguments.replicas, arguments.nodes
    small = {"object_store_memory": 80 << 20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **small})
    for i in range(nodes):  # one CPU more: stages without a GPU have workers of their own
        cluster.add_node(num_cpus=-(-replicas // nodes) + (i == 0), num_gpus=-(-replicas // nodes), **small)
    expert = SleepExpert(seconds_per_image=arguments.seconds, resources=ResourcesConfig(gpus=1.0, replicas=replicas))
    steps: list[Step] = [
        ReadInputs({"blank": BlankSource()}, size=SIZE_PX),
        ExpertStep(ExpertCall("content", "destylize", "stylized", None), expert, 0),
        ExpertStep(ExpertCall("style", "stylize", "subject", "stylized"), expert, 0)]
    store = RunStore.create(root, {}, sleeping_units(arguments.units), arguments.block)
    ends: list[tuple[float, float]] = []

    def note(block: BlockReport) -> None:
        ends.append((time.time(), block.seconds["destylize"] + block.seconds["stylize"]))

    try:
        report = execute(store, steps, EngineConfig(kind="ray", address=cluster.address), on_progress=note)
    finally:
        ray.shutdown()
        cluster.shutdown()
    tenth = max(replicas, len(ends) // 10)
    first, last = ends[tenth - 1][0], ends[-tenth - 1][0]
    slept = sum(max(0.0, min(end, last) - max(end - seconds, first)) for end, seconds in ends)
    share, rate = slept / (last - first) / replicas, (len(ends) - 2 * tenth) / (last - first)
    print(f"{replicas} workers on {nodes} nodes, {len(ends)} blocks of {arguments.block}, {arguments.seconds:g} s an "
          f"image: busy {share:.3f} over {last - first:.0f} s, {rate:.2f} blocks/s, start-up "
          f"{report.startup_s:.0f} s, driver's peak {peak_mb():.0f} MB, deaths {report.deaths}")


def plan(root: Path, num_units: int, block: int) -> None:
    """Two units a target, 400 subjects in the bank."""
    print(f"{num_units} units")
    targets = timed("items", lambda: [source_item("input", i) for i in range(num_units // 2)])
    bank = [source_item("subjects", i) for i in range(400)]
    items = {"input": targets, "subjects": bank}
    experts: dict[str, dict[str, object]] = {"stylize": {"kind": "a"}, "destylize": {"kind": "b"}}
    units = timed("build units", lambda: build_units(FromStylizedConfig(per_target=2), items=items, seed=0, size=512,
                                                     experts_identity=experts, val_fraction=0.1))
    timed("write plan", lambda: RunStore.create(root, {}, units, block))


def resume(root: Path, num_units: int, block: int) -> None:
    """Every block committed as one segment; the tars are not needed for it. Made in a process of its own."""
    maker = multiprocessing.get_context("spawn").Process(target=commit_all, args=(root, num_units, block))
    maker.start()
    maker.join()
    print(f"{num_units} committed units, {-(-num_units // block)} segments; peak before {peak_mb():.0f} MB")
    store = RunStore.open(root)
    timed("read plan", store.units)
    timed("read ledger", store.ledger)
    left = timed("find jobs", lambda: find_jobs(store, [ReadInputs({}, size=SIZE_PX)]))
    assert not left


def commit_all(root: Path, num_units: int, block: int) -> None:
    """The rows that commits would write, without their fsync."""
    store = RunStore.create(root, {}, sleeping_units(num_units), block)
    provenance = '{"experts": {"stylize": {' + ", ".join(f'"field {i}": "value {i}"' for i in range(20)) + "}}}"
    store.paths.candidates.mkdir()
    for part in store.blocks():
        pq.write_table(ledger_rows(part.block_id, part.units, provenance), store.paths.candidate_rows(part.block_id),
                       compression="snappy", write_statistics=False)


def ledger_rows(block_id: str, units: tuple[Unit, ...], provenance: str) -> pa.Table:
    """As a commit writes them."""
    fixed = {"block_id": block_id, "status": "made", "stage": "", "reason": "", "seconds": '{"stylize": 1.5}',
             "provenance": provenance}
    sums = {f"{role}_sha256": "0" * 64 for role in ("content", "style", "stylized")}
    places = {f"{role}_{what}": 1 for role in ("content", "style", "stylized") for what in ("offset", "bytes")}
    return pa.Table.from_pylist([{"unit_id": unit.unit_id, **fixed, **sums, **places} for unit in units], schema=SCHEMA)


def timed(name: str, work: Callable[[], Result]) -> Result:
    """Run, print seconds and the peak of the process so far."""
    begun = time.perf_counter()
    result = work()
    print(f"  {name}: {time.perf_counter() - begun:.1f} s, peak {peak_mb():.0f} MB", flush=True)
    return result


def peak_mb() -> float:
    """Most resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
