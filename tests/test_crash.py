"""kill -9 of a whole run at random moments, run again each time: the shards are those of an undisturbed run."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

KILLS = 10
SMALL = ("sources.input.count=32", "sources.subjects.count=120")


def command(output: Path, engine: str) -> list[str]:
    sets = [f"output={output}", f"engine.kind={engine}", *SMALL]
    run = [sys.executable, "-m", "curate.cli", "run", "configs/quickstart.yaml"]
    return run + [argument for value in sets for argument in ("--set", value)]


def shard_hashes(run: Path) -> dict[str, str]:
    return {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in sorted((run / "shards").iterdir())}


def kill_tree(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL to the run and all that it started (Ray's daemons and workers)."""
    try:
        family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    except psutil.NoSuchProcess:
        family = []
    for member in family:
        try:
            os.kill(member.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait()


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("engine", ["local", "ray"])
def test_shards_survive_ten_kills(tmp_path: Path, engine: str) -> None:
    begun = time.monotonic()
    subprocess.run(command(tmp_path / "whole", engine), check=True)
    whole_s = time.monotonic() - begun
    expected = shard_hashes(tmp_path / "whole")
    moments = random.Random(engine)
    killed = 0
    while killed < KILLS:
        process = subprocess.Popen(command(tmp_path / "killed", engine))
        try:
            process.wait(timeout=moments.uniform(0.1, 0.9) * whole_s)
        except subprocess.TimeoutExpired:
            kill_tree(process)
            killed += 1
            continue
        # it was resumed to the end before the next kill: it must be right, and the next kills get a fresh one
        assert process.returncode == 0 and shard_hashes(tmp_path / "killed") == expected
        shutil.rmtree(tmp_path / "killed")
    subprocess.run(command(tmp_path / "killed", engine), check=True)
    assert shard_hashes(tmp_path / "killed") == expected
    subprocess.run([sys.executable, "-m", "curate.cli", "verify", "--deep", str(tmp_path / "killed")], check=True)
