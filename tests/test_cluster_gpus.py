"""GPUs on Ray, pretended ones: which worker lies where, what growing pools hold, and runs that end by GPU-hours."""

from __future__ import annotations

import gc
import os
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from curate.config import ResourcesConfig
from curate.engine import EngineConfig, EngineReport, ExpertStep, ReadInputs, execute
from curate.engine.ray_session import RaySession
from curate.interfaces import Expert
from curate.records import ExpertCall
from curate.run.command import run_config
from curate.run.goal import hours_so_far
from curate.seal import verify
from curate.store import RunStore
from tests.engine_parts import (
    PX,
    BlendExpert,
    DrawnSource,
    ScoreStep,
    ToneScorer,
    failures,
    make_steps,
    make_store,
    note,
)
from tests.test_run import index, small_config

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.filterwarnings("ignore")]
RAY = EngineConfig(kind="ray")


@pytest.fixture(scope="module", autouse=True)
def ray_with_two_gpus() -> Iterator[None]:
    """Ray takes our word for the GPUs; what runs on them is numpy."""
    session = RaySession(EngineConfig(kind="ray", cpus=8), gpus=2)
    yield
    session.close()
    gc.collect()  # Ray leaves processes to the garbage collector, which warns: here, and not in another test


class Placed(BlendExpert):
    """Tells at loading which GPU its worker got."""

    verb: str

    def load(self, device: str) -> Expert:
        assert device == "cuda"
        note(self.log, f"{self.verb}:{os.environ['CUDA_VISIBLE_DEVICES']}:{os.getpid()}")
        return super().load(device)


class PlacedScorer(ToneScorer):
    """The same of a scorer."""

    def load(self, device: str) -> Any:
        note(self.log, f"tone:{os.environ['CUDA_VISIBLE_DEVICES']}:{os.getpid()}")
        return super().load(device)


def test_stages_share_two_gpus_and_no_worker_is_spread_over_both(tmp_path: Path) -> None:
    """0.5, 0.3 and 0.2 of a GPU, as many workers as fit: two of each, and both GPUs are full."""
    log = str(tmp_path / "log")
    shares = {"destylize": 0.5, "stylize": 0.3, "tone": 0.2}
    calls = (ExpertCall("content", "destylize", "stylized", None, "caption"),
             ExpertCall("style", "stylize", "subject", "stylized", "style_caption"))
    experts = [ExpertStep(call, Placed(verb=call.verb, log=log, sleep_s=0.05,
                                       resources=ResourcesConfig(gpus=shares[call.verb])), run_seed=5)
               for call in calls]
    scorer = ScoreStep("tone", PlacedScorer(log=log, resources=ResourcesConfig(gpus=shares["tone"])), "f1")
    store = make_store(tmp_path / "run", 40, block=1)
    report = execute(store, [ReadInputs({"drawn": DrawnSource()}, size=PX), *experts, scorer], RAY)
    assert report.made == 40 and failures(store) == {} and report.deaths == 0
    assert {name: report.replicas[name] for name in shares} == dict.fromkeys(shares, 2)
    workers = {line for line in Path(log).read_text().split() if ":" in line}
    on: defaultdict[str, list[float]] = defaultdict(list)
    for stage, gpu, _ in (worker.split(":") for worker in workers):
        assert gpu in ("0", "1"), "one GPU each"
        on[gpu].append(shares[stage])
    assert len(workers) == 6 and [round(sum(taken), 6) for taken in on.values()] == [1.0, 1.0]


def test_what_a_growing_pool_holds_is_counted_while_it_grows(tmp_path: Path) -> None:
    resources = ResourcesConfig(gpus=0.5, replicas=(1, 4))
    held: list[float] = []

    def look(report: EngineReport) -> bool:
        held.append(report.gpus)
        return False

    begun = time.time()
    report = execute(make_store(tmp_path / "run", 60, block=1),
                     make_steps(BlendExpert(sleep_s=0.4, resources=resources), ScoreStep("tone", ToneScorer(), "f1")),
                     RAY, enough=look)
    wall_h = (time.time() - begun) / 3600
    assert report.made == 60 and max(held) >= 1.0, "the pool grew, and that was seen"
    assert set(held) <= {0.5, 1.0, 1.5, 2.0}
    assert 0.5 * report.work_s / 3600 * 1.2 < report.gpu_hours < 2.0 * wall_h
    before = report.gpu_hours
    time.sleep(0.2)
    assert report.gpu_hours == before, "nothing is held after the end"


def test_a_run_ends_by_gpu_hours_and_a_larger_budget_goes_on_from_what_was_used(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Half a GPU for the hash of each target; 5e-5 hours of it are 0.36 s."""
    config = small_config(tmp_path, block=1, engine={"kind": "ray"}, scorers={
        "phash": {"kind": "phash", "resources": {"gpus": 0.5, "replicas": 1}}}, rules=[])

    def run(*overrides: str) -> int:
        return run_config(config, overrides, dry_run=False, retry_failed=False)

    assert run("until.gpu_hours=0.00005") == 0
    assert "GPU-hours held (goal 5e-05): enough" in capsys.readouterr().err
    root = tmp_path / "run"
    used, committed = hours_so_far(root), RunStore.open(root).committed()
    assert used >= 0.00005 and 0 < len(committed) < 12
    scored = int((index(tmp_path)["status"] == "kept").sum())  # of those that were made some wait for their scores
    assert verify(root) == [] and scored <= len(committed)
    assert (index(tmp_path)["status"] == "pending").sum() == 12 - scored
    assert run("until.gpu_hours=0.00005") == 0, "the budget was spent by an earlier call"
    assert RunStore.open(root).committed() == committed and hours_so_far(root) == used
    assert run("until.gpu_hours=1000") == 0
    assert set(index(tmp_path)["status"]) == {"kept"} and hours_so_far(root) > used
