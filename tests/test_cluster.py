"""Nodes that die and nodes that come in mid-run, the run in a bucket, and the command line on a running Ray."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from curate.config import ResourcesConfig
from curate.engine import BlockReport, EngineConfig, execute
from curate.engine.steps import Step
from curate.files import as_path, list_files
from curate.interfaces import Expert, ExpertRequest
from curate.seal import SealConfig, seal, verify
from curate.store import RunStore
from tests.engine_parts import BlendExpert, ScoreStep, ToneScorer, failures, make_steps, make_store, note
from tests.s3_server import s3_server
from tests.test_run import small_config

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.filterwarnings("ignore")]
UNITS, BLOCK = 48, 2


@pytest.fixture
def bucket() -> Iterator[str]:
    with s3_server() as url:
        yield url


SMALL = {"object_store_memory": 80 << 20, "include_dashboard": False}


@pytest.fixture
def head(bucket: str) -> Iterator[Any]:
    """A head without CPUs; it and its nodes inherit the way to the bucket."""
    import ray
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **SMALL})
    yield nodes
    ray.shutdown()
    nodes.shutdown()


@pytest.fixture
def cluster(head: Any) -> Any:
    """With three nodes of one CPU each."""
    for _ in range(3):
        head.add_node(num_cpus=1, **SMALL)
    return head


def steps_on(replicas: int | tuple[int, int]) -> list[Step]:
    resources = ResourcesConfig(cpus=1, replicas=replicas)
    return make_steps(BlendExpert(sleep_s=0.3, resources=resources),
                      ScoreStep("tone", ToneScorer(resources=resources), "f1"))


def dataset(root: Path) -> dict[str, bytes]:
    return {name: (root / "shards" / name).read_bytes() for name in list_files(root / "shards")}


@pytest.mark.parametrize("replicas", [3, (1, 3)], ids=["fixed pool", "autoscaling pool"])
def test_a_node_dies_and_the_bytes_are_those_of_one_machine(
        cluster: Any, bucket: str, tmp_path: Path, replicas: int | tuple[int, int]) -> None:
    """No spare node: a fixed pool of three must go on with the two that are left."""
    config = EngineConfig(kind="ray", address=cluster.address)
    victim = cluster.list_all_nodes()[-1]
    thread = ThreadPoolExecutor(1)
    killed: list[Future[None]] = []
    after: list[BlockReport] = []

    def kill_later(block: BlockReport) -> None:
        if killed and killed[0].done():
            after.append(block)
        if not killed:
            killed.append(thread.submit(cluster.remove_node, victim, False))

    root = as_path(f"{bucket}/run")
    report = execute(make_store(root, UNITS, block=BLOCK), steps_on(replicas), config, on_progress=kill_later)
    thread.shutdown()
    assert killed[0].exception() is None  # it did die
    assert len(after) > 3 and not report.stopped and failures(RunStore.open(root)) == {}
    local = make_store(tmp_path / "run", UNITS, block=BLOCK)
    execute(local, steps_on(1), EngineConfig())
    for store in (RunStore.open(root), local):
        seal(store, scorers=(("tone", "f1"),), config=SealConfig(shard_samples=20))
    assert dataset(root) == dataset(local.root)
    assert verify(root, deep=True) == []
    assert report.made == UNITS


class LocatedExpert(BlendExpert):
    """Notes the node that each batch is made on."""

    def load(self, device: str) -> Expert:
        import ray

        where = ray.get_runtime_context().get_node_id()

        def make(requests: list[ExpertRequest]) -> list[Image.Image]:
            note(self.log, where)
            return self._make(requests)

        return make  # type: ignore[return-value]


def test_nodes_that_come_are_used_by_a_pool_that_may_grow(head: Any, tmp_path: Path) -> None:
    """[1, 3] on a cluster that has one CPU when the run begins; two nodes come after the first block."""
    head.add_node(num_cpus=1, **SMALL)
    resources, log = ResourcesConfig(cpus=1, replicas=(1, 3)), tmp_path / "nodes"
    scorer = ScoreStep("tone", ToneScorer(resources=resources), "f1")
    come: list[str] = []

    def grow(block: BlockReport) -> None:
        if not come:  # here, in the main thread: in another one add_node raises, for it sets a signal handler
            come.extend(head.add_node(num_cpus=1, **SMALL).node_id for _ in range(2))

    # Ray Data looks for new nodes every 20 s: one worker alone would need 160 s
    steps = make_steps(LocatedExpert(log=str(log), sleep_s=1.0, resources=resources), scorer)
    store = make_store(tmp_path / "run", 160, block=2)
    report = execute(store, steps, EngineConfig(kind="ray", address=head.address), on_progress=grow)
    made_on = Counter(line for line in log.read_text().split() if line != "call")  # which BlendExpert itself notes
    assert report.made == 160 and report.deaths == 0 and failures(store) == {}
    assert made_on.total() == 160 and set(come) < set(made_on), f"calls by node: {made_on}; came: {come}"
    local = make_store(tmp_path / "local", 160, block=2)
    execute(local, make_steps(BlendExpert(resources=resources), scorer), EngineConfig())
    for each in (store, local):
        seal(each, scorers=(("tone", "f1"),), config=SealConfig(shard_samples=50))
    assert dataset(store.root) == dataset(local.root)


def curate(*arguments: str) -> str:
    done = subprocess.run([sys.executable, "-m", "curate.cli", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_command_line_on_a_running_ray_with_its_run_in_a_bucket(head: Any, bucket: str, tmp_path: Path) -> None:
    head.add_node(num_cpus=4, **SMALL)
    config, run = str(small_config(tmp_path, engine={"kind": "local"})), f"{bucket}/cli"
    told = curate("run", config, "--address", head.address, "--set", f"output={run}")
    assert "12 planned: kept 12, rejected 0, failed 0" in told
    assert "2 shards in s3://" in told or "1 shard in s3://" in told
    assert "no faults" in curate("verify", run, "--deep")
    page = curate("report", run).strip().splitlines()[-1]
    assert page == f"{run}/report/index.html" and "<html" in as_path(page).read_text()
    assert not (tmp_path / "run").exists()
    replicas = as_path(run) / "timings.jsonl"
    assert '"kind": "ray"' in replicas.read_text()
