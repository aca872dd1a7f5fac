"""Units that kill their worker, and the death of the whole run: the guilty one is a row, the others do not change."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from curate.engine import EngineConfig, StopFlag, execute
from curate.errors import EngineError
from tests.engine_parts import BlendExpert, failures, image_hashes, make_steps, make_store, scores, whole

DEADLY = ("unit 5", "unit 2")
"""Kills its worker at stage destylize; kills its worker in the scorer."""


def command(root: Path, kind: str, *, n: int = 12, sleep_s: float = 0.0, dies: tuple[str, str] = ("", "")) -> list[str]:
    return [sys.executable, "-m", "tests.engine_parts", str(root), kind, str(n), str(sleep_s), *dies]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("reference") / "run"
    execute(make_store(root), make_steps(), EngineConfig())
    return root


def check_after_deaths(root: Path, reference: Path) -> None:
    store, undisturbed = make_store(root), make_store(reference)
    assert failures(store) == {5: ("worker", "killed its worker 2 times")}
    assert image_hashes(store) == {i: row for i, row in image_hashes(undisturbed).items() if i != 5}
    rows = scores(store)
    assert rows.pop(2)["error"] == "killed its worker 2 times"
    assert rows == {i: row for i, row in scores(undisturbed).items() if i not in (2, 5)}
    assert not list((root / "attempts").glob("*"))


def test_local_runs_again_until_the_deadly_units_are_rows(tmp_path: Path, reference: Path) -> None:
    """Each death is that of the whole process; after ``block_attempts`` = 1 of them a block's units run in children."""
    exits = []
    while not exits or exits[-1] != 0:
        exits.append(subprocess.run(command(tmp_path / "run", "local", dies=DEADLY)).returncode)
        assert len(exits) < 8
    assert exits == [18, 17, 0]  # block 0 in its scorer, then block 1 in its expert, then both in isolation
    check_after_deaths(tmp_path / "run", reference)


def test_ray_records_the_deadly_units_in_one_run(tmp_path: Path, reference: Path) -> None:
    subprocess.run(command(tmp_path / "run", "ray", dies=DEADLY), check=True)
    check_after_deaths(tmp_path / "run", reference)


def test_too_many_deaths_are_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every unit kills its worker: the run stops, and holds it against no unit beyond those it has proven."""
    store = make_store(tmp_path / "run")
    for block in store.blocks():
        store.begin_attempt(block.block_id)
    deadly = BlendExpert(dies=tuple(f"unit {i}" for i in range(12)))
    with pytest.raises(EngineError, match="3 workers died, the last in stage destylize"):
        execute(store, make_steps(deadly), EngineConfig(block_attempts=1, unit_attempts=2, max_deaths=3))
    assert failures(store) == {} and image_hashes(store) == {}


def kill_and_count(root: Path, *, kills: int, seed: str) -> None:
    """SIGKILL a local run at random moments of its life, then let it finish."""
    moments = random.Random(seed)
    for _ in range(kills):
        process = subprocess.Popen(command(root, "local", n=40, sleep_s=0.05))
        started = time.monotonic()
        while process.poll() is None and not (root / "candidates").exists() and time.monotonic() - started < 60:
            time.sleep(0.01)
        time.sleep(moments.uniform(0.0, 0.6))
        process.kill()
        process.wait()


def test_kill_9_at_random_moments_changes_nothing(tmp_path: Path) -> None:
    """Block attempts add up over the kills, so some blocks end in isolation: with the same bytes, and no failure."""
    execute(make_store(tmp_path / "whole", 40), make_steps(), EngineConfig())
    kill_and_count(tmp_path / "killed", kills=5, seed="kills")
    store = make_store(tmp_path / "killed", 40)
    assert 0 < len(image_hashes(store)) < 40
    execute(store, make_steps(), EngineConfig())
    assert whole(tmp_path / "killed") == whole(tmp_path / "whole")


def test_many_deaths_of_the_whole_run_blame_no_one(tmp_path: Path, reference: Path) -> None:
    store = make_store(tmp_path / "run")
    for block in store.blocks()[:2]:
        for _ in range(7):
            store.begin_attempt(block.block_id)
    report = execute(store, make_steps(), EngineConfig())
    assert (report.isolated_blocks, report.deaths, report.failed) == (2, 0, 0)
    assert whole(tmp_path / "run") == whole(reference)


def test_the_first_ctrl_c_finishes_blocks_and_the_second_stops_now(tmp_path: Path) -> None:
    store = make_store(tmp_path / "run", 40)
    stop = StopFlag()

    def interrupt() -> None:
        time.sleep(1.0)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGINT)

    presses = threading.Thread(target=interrupt)
    before = signal.getsignal(signal.SIGINT)
    begun = time.monotonic()
    with stop.on_signals():
        presses.start()
        report = execute(store, make_steps(BlendExpert(sleep_s=30.0)), EngineConfig(), stop=stop)
        presses.join()
    assert report.stopped and stop.requested and report.blocks == 0 and time.monotonic() - begun < 20
    assert store.attempts(store.blocks()[0].block_id) == 0  # an interruption is not held against the block
    assert signal.getsignal(signal.SIGINT) is before
