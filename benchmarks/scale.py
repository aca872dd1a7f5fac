"""Scale without GPUs: `python benchmarks/scale.py busy|plan|resume|drive|memory|seal [--units N]`.

busy    experts that sleep as measured ones compute, `--replicas` workers on `--nodes` virtual Ray nodes: the part of
        the time in which they sleep, between the first and the last tenth of the blocks
plan    items -> units -> plan file: seconds and peak memory of this process
resume  a run that was cut at 99 %, its ledger folded as a run leaves it (`--small`: as if nothing was ever folded):
        seconds and peak memory until the driver has its first jobs
drive   what `curate run` holds in its own process: planning apart, then the last 100 blocks of a run
memory  the peaks of `drive` as a table, for 10,000, 100,000 and 1,000,000 units
seal    the same run sealed with nothing selected: plan, ledger, verdicts and index of all units, but no image encoded
"""

from __future__ import annotations

import argparse
import itertools
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from simulated import SIZE_PX, BlankSource, SleepExpert, sleeping_units, source_items

from curate.config import ResourcesConfig
from curate.engine import BlockReport, EngineConfig, ExpertStep, ReadInputs, Step, execute
from curate.engine.jobs import Jobs
from curate.interfaces import ROLES
from curate.item_columns import ItemColumns
from curate.keys import to_hex
from curate.planning import FromStylizedConfig, build_units
from curate.records import ExpertCall
from curate.run.apart import apart
from curate.seal import seal
from curate.seeds import digest
from curate.store import RunStore
from curate.store.candidates import SCHEMA
from curate.store.folding import FOLD, GROUP_ROWS
from curate.store.plan import PlanFile
from curate.store.tables import WRITING

FOLDED = SCHEMA.append(pa.field("segment", pa.string()))
Result = TypeVar("Result")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("busy", "plan", "resume", "drive", "memory", "seal"))
    parser.add_argument("--units", type=int, default=10_000)
    parser.add_argument("--block", type=int, default=8)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--replicas", type=int, default=64)
    parser.add_argument("--nodes", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=1.5, help="of an image")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.what == "busy":
            busy(Path(folder) / "run", arguments)
        elif arguments.what == "plan":
            plan(Path(folder) / "run", arguments.units, arguments.block)
        elif arguments.what == "resume":
            resume(Path(folder) / "run", arguments.units, arguments.block, small=arguments.small)
        elif arguments.what == "drive":
            drive(Path(folder) / "run", arguments.units, arguments.block)
        elif arguments.what == "memory":
            memory()
        else:
            seal_none(Path(folder) / "run", arguments.units, arguments.block)


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
    steps = making_steps(expert)
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


def making_steps(expert: SleepExpert) -> list[Step]:
    """Of units of `sleeping_units`."""
    return [ReadInputs({"blank": BlankSource()}, size=SIZE_PX),
            ExpertStep(ExpertCall("content", "destylize", "stylized", None), expert, 0),
            ExpertStep(ExpertCall("style", "stylize", "subject", "stylized"), expert, 0)]


def plan(root: Path, num_units: int, block: int) -> None:
    """Two units a target, 400 subjects in the bank. Then the same again, as `curate run` does before it resumes."""
    print(f"{num_units} units; imports {peak_mb():.0f} MB", flush=True)
    experts: dict[str, dict[str, object]] = {"stylize": {"kind": "a"}, "destylize": {"kind": "b"}}
    targets = timed("items", lambda: ItemColumns.of(source_items("input", num_units // 2)))
    items = {"input": targets, "subjects": ItemColumns.of(source_items("subjects", 400))}
    units = timed("build units", lambda: build_units(FromStylizedConfig(per_target=2), items=items, seed=0, size=512,
                                                     experts_identity=experts, val_fraction=0.1))
    store = timed("write plan", lambda: RunStore.create(root, {}, units, block))
    assert timed("compare with the plan that is there", lambda: store.holds(units, block))
    print(f"  plan file: {(root / 'plan.parquet').stat().st_size / 1e6:.0f} MB")


def resume(root: Path, num_units: int, block: int, *, small: bool) -> None:
    """All but the last hundredth of the blocks are committed."""
    made_apart(root, num_units, block, small=small)
    files = [path.name for path in (root / "ledger").iterdir()]
    print(f"{num_units} units, ledger of {len(files)} files; imports {peak_mb():.0f} MB", flush=True)
    store = RunStore.open(root)
    timed("fold the ledger", lambda: store.fold([]))
    timed("read plan and ledger", store.standing)
    jobs = timed("find jobs", lambda: Jobs(store, [ReadInputs({}, size=SIZE_PX)]))
    made = timed("make the first 10,000 jobs", lambda: sum(1 for _ in itertools.islice(jobs, 10_000)))
    print(f"  {len(jobs)} blocks are left, {made} of them made")


def drive(root: Path, num_units: int, block: int) -> None:
    """The plan of `plan` and the run of `resume`; the local engine, with experts that take no time."""
    made_apart(root, num_units, block, left=100)
    print(f"{num_units} units; imports {peak_mb():.0f} MB", flush=True)
    timed("plan apart", lambda: apart(plan, root.parent / "planned", num_units, block))
    steps = making_steps(SleepExpert(seconds_per_image=0.0))
    report = timed("drive", lambda: execute(RunStore.open(root), steps, EngineConfig()))
    print(f"  {report.made} units made")


def memory() -> None:
    """Each size in a process of its own."""
    print("| units | planning, in its own process | driver, while that plans | driver, driving |\n|---|---|---|---|")
    for num_units in (10_000, 100_000, 1_000_000):
        told = subprocess.run([sys.executable, __file__, "drive", "--units", str(num_units)], check=True, text=True,
                              capture_output=True).stdout
        peaks = {name: int(mb) for name, mb in re.findall(r"(\w[\w ]*): .* peak (\d+) MB", told)}
        cells = (peaks["compare with the plan that is there"], peaks["plan apart"], peaks["drive"])
        print(f"| {num_units:,} | {' | '.join(f'{mb} MB' for mb in cells)} |", flush=True)


def seal_none(root: Path, num_units: int, block: int) -> None:
    """All that sealing holds of every unit."""
    made_apart(root, num_units, block)
    print(f"{num_units} units; imports {peak_mb():.0f} MB", flush=True)
    store = RunStore.open(root)
    timed("seal", lambda: seal(store, selected=frozenset()))
    print(f"  index: {(root / 'shards' / 'index.parquet').stat().st_size / 1e6:.0f} MB")


def made_apart(root: Path, num_units: int, block: int, *, small: bool = False, left: int | None = None) -> None:
    """`commit_most`, whose memory is not to be counted."""
    apart(commit_most, root, num_units, block, small, left)


def commit_most(root: Path, num_units: int, block: int, small: bool, left: int | None) -> None:
    """All but the last ``left`` blocks (None: the last hundredth): tars (empty ones) and the rows that commits would
    write, as they are folded; or with ``small`` one file a block, without fsync."""
    store = RunStore.create(root, {}, sleeping_units(num_units), block)
    store.paths.candidates.mkdir()
    store.paths.ledger.mkdir()
    done = max(1, store.plan.num_blocks - (-(-store.plan.num_blocks // 100) if left is None else left))
    number, at = 1, 0
    while at < done:
        span = 1 if small else next(span for span in (256, 16, 1) if (done - at) // FOLD >= span or span == 1)
        name = f"rows-{number:06d}-{number + span - 1:06d}.parquet"
        with pq.ParquetWriter(store.paths.ledger / name, FOLDED, **WRITING) as writer:
            for start in range(at, min(at + span * FOLD, done), FOLD):
                rows = ledger_rows(store.plan, start, min(start + FOLD, done))
                writer.write_table(rows, row_group_size=GROUP_ROWS)
                if small:
                    for one in range(start, min(start + FOLD, done)):
                        part = rows.slice((one - start) * block, block)
                        pq.write_table(part.drop_columns(["segment"]), store.paths.ledger / (
                            part.column("segment")[0].as_py() + ".parquet"), **WRITING)
        if small:
            (store.paths.ledger / name).unlink()
        number, at = number + span, at + span * FOLD


def ledger_rows(plan: PlanFile, first: int, last: int) -> pa.Table:
    """As commits of some blocks write them, with the segment's name; and the tars."""
    start, stop = first * plan.block_size, min(last * plan.block_size, len(plan))
    texts = [unit.unit_id for unit in plan.units(start, stop)]
    ids = pa.array(texts)
    blocks = [digest(*texts[at:at + plan.block_size]) for at in range(0, len(texts), plan.block_size)]
    for block_id in blocks:
        os.close(os.open(plan.path.parent / "candidates" / f"seg-{block_id}.tar", os.O_CREAT))
    of = pa.array([blocks[i // plan.block_size] for i in range(len(texts))])
    rng = np.random.default_rng(first)
    sums = {f"{role}_sha256": to_hex(rng.integers(0, 256, (len(texts), 32), dtype=np.uint8)) for role in ROLES}
    places = {f"{role}_{what}": pa.repeat(1000, len(texts)) for role in ROLES for what in ("offset", "bytes")}
    provenance = '{"experts": {"stylize": {' + ", ".join(f'"field {i}": "value {i}"' for i in range(20)) + "}}}"
    same = {"status": "made", "stage": "", "reason": "", "seconds": '{"stylize": 1.5}', "provenance": provenance}
    columns = {"unit_id": ids, "block_id": of, "segment": pc.binary_join_element_wise("seg", of, "-"), **sums, **places,
               **{name: pa.repeat(text, len(texts)) for name, text in same.items()}}
    return pa.table([columns.get(f.name, pa.nulls(len(texts), f.type)) for f in FOLDED], schema=FOLDED)


def timed(name: str, work: Callable[[], Result]) -> Result:
    """Run, print seconds and the peak of the process so far."""
    begun, cpu = time.perf_counter(), time.process_time()
    result = work()
    print(f"  {name}: {time.perf_counter() - begun:.1f} s ({time.process_time() - cpu:.1f} s of CPU), peak "
          f"{peak_mb():.0f} MB", flush=True)
    return result


def peak_mb() -> float:
    """Most resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
