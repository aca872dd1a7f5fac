"""Four Ray nodes, one dies in mid-run, and the run lies in a bucket: it ends, with the bytes of one machine."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from curate.config import ResourcesConfig
from curate.engine import BlockReport, EngineConfig, execute
from curate.engine.steps import Step
from curate.files import as_path, list_files
from curate.seal import SealConfig, seal, verify
from curate.store import RunStore
from tests.engine_parts import BlendExpert, ScoreStep, ToneScorer, failures, make_steps, make_store
from tests.s3_server import s3_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.filterwarnings("ignore")]
UNITS, BLOCK = 48, 2


@pytest.fixture
def bucket() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture
def cluster(bucket: str) -> Iterator[Any]:
    """A head without CPUs and three nodes with one each; they inherit the way to the bucket."""
    import ray
    from ray.cluster_utils import Cluster

    small = {"object_store_memory": 80 << 20, "include_dashboard": False}
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **small})
    for _ in range(3):
        nodes.add_node(num_cpus=1, **small)
    yield nodes
    ray.shutdown()
    nodes.shutdown()


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
    killer: list[threading.Thread] = []
    after: list[BlockReport] = []

    def kill_later(block: BlockReport) -> None:
        if killer and not killer[0].is_alive():
            after.append(block)
        if not killer:
            killer.append(threading.Thread(target=cluster.remove_node, args=(victim, False)))
            killer[0].start()

    root = as_path(f"{bucket}/run")
    report = execute(make_store(root, UNITS, block=BLOCK), steps_on(replicas), config, on_progress=kill_later)
    killer[0].join()
    assert len(after) > 3 and not report.stopped and failures(RunStore.open(root)) == {}
    local = make_store(tmp_path / "run", UNITS, block=BLOCK)
    execute(local, steps_on(1), EngineConfig())
    for store in (RunStore.open(root), local):
        seal(store, scorers=(("tone", "f1"),), config=SealConfig(shard_samples=20))
    assert dataset(root) == dataset(local.root)
    assert verify(root, deep=True) == []
    assert report.made == UNITS
