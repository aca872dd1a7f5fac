"""Reader processes and signals: Ctrl-C is the trainer's alone to heed, and no reader outlives it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.train_parts import make_parts, write

PATIENCE_S = 120


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_parts(tmp_path_factory.mktemp("parts"))


def readers_of(pid: int) -> list[psutil.Process]:
    found = []
    for each in psutil.Process(pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):  # a child of a moment, such as a program asked for its version
            if "spawn_main" in " ".join(each.cmdline()):
                found.append(each)
    return found


def stopped_readers(trainer: subprocess.Popen[bytes], how: signal.Signals, after: Path | None) -> list[psutil.Process]:
    """The readers of a trainer that got a signal when they were there, and the file too if one is named."""
    until = time.monotonic() + PATIENCE_S
    while len(readers := readers_of(trainer.pid)) < 2 or not (after is None or after.exists()):
        assert trainer.poll() is None and time.monotonic() < until
        time.sleep(0.02)
    if how == signal.SIGINT:
        os.killpg(trainer.pid, how)
    else:
        trainer.send_signal(how)
    return readers


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_readers_end_with_the_trainer(parts: Path, tmp_path: Path, how: signal.Signals, early: bool) -> None:
    """Ctrl-C reaches the whole group, the others the trainer alone; while readers start, and while they read."""
    out = tmp_path / "t"
    config = write(parts, out, readers=2, steps=100_000, samples={"count": 0}, save_every=10**6)
    log = tmp_path / "said"
    with log.open("w") as said:
        trainer = subprocess.Popen([sys.executable, "-m", "curate.cli", "train", str(config)], stderr=said,
                                   start_new_session=True)
    try:
        readers = stopped_readers(trainer, how, None if early else out / "metrics.jsonl")
        assert psutil.wait_procs(readers, timeout=PATIENCE_S)[1] == [], log.read_text()
        code = trainer.wait(PATIENCE_S)
    finally:
        trainer.kill()
        trainer.wait()
    if how == signal.SIGKILL:
        assert code == -how
    else:
        assert code == 130 and (out / "checkpoint.pt").exists(), log.read_text()
        assert "Traceback" not in log.read_text()
