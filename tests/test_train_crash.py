"""kill -9 of a training at random steps, run again each time: weights and curve are those of an undisturbed one."""

from __future__ import annotations

import hashlib
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from pipelines.training import MetricsLog
from tests.train_parts import make_parts, write

KILLS, STEPS = 5, 60


def start(config: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "curate.cli", "train", str(config)], stderr=subprocess.DEVNULL)


def steps_logged(out: Path) -> int:
    return max((int(line["step"]) for line in MetricsLog(out / "metrics.jsonl").read()), default=0)


def files(folder: Path) -> dict[str, str]:
    found = (file for file in sorted(folder.rglob("*")) if file.is_file())
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in found}


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_training_survives_five_kills(tmp_path: Path) -> None:
    parts = make_parts(tmp_path / "parts")
    options = {
        "steps": STEPS, "save_every": 7, "log_every": 1, "keep_last": 2, "accumulate": 2,
        "optimiser": {"lr": 0.001, "warmup": 5, "cooldown": 0.3, "ema": 0.9},
        "reward": {"start_step": 20, "num_steps": 2, "batch": 2}, "reward_model": str(parts / "csd"),
        "validation": {"every": 10, "split": "train", "count": 4, "pictures": 2},
    }
    whole = write(parts, tmp_path / "whole", cache=str(tmp_path / "cache-whole"), **options)
    killed = write(parts, tmp_path / "killed", cache=str(tmp_path / "cache-killed"), **options)
    assert start(whole).wait() == 0
    moments = random.Random(11)
    at = sorted(moments.sample(range(2, STEPS - 2), KILLS))
    for step in at:
        process = start(killed)
        while process.poll() is None and steps_logged(tmp_path / "killed") < step:
            time.sleep(0.002)
        time.sleep(moments.uniform(0, 0.05))  # into the step, a checkpoint, a validation, the writing of the model
        process.kill()
        assert process.wait() == -9, "it ended before it was killed"
    assert start(killed).wait() == 0
    one, other = (torch.load(tmp_path / name / "checkpoint.pt", weights_only=True) for name in ("whole", "killed"))
    assert one["model"].keys() == other["model"].keys()
    assert all(torch.equal(value, other["model"][name]) for name, value in one["model"].items())
    assert all(torch.equal(value, other["ema"]["shadow"][name]) for name, value in one["ema"]["shadow"].items())
    assert one["validations"] == other["validations"]
    for folder in ("model", "best", "samples"):
        assert files(tmp_path / "whole" / folder) == files(tmp_path / "killed" / folder)
    curves = [[{**line, "seconds": 0} for line in MetricsLog(tmp_path / name / "metrics.jsonl").read()]
              for name in ("whole", "killed")]
    assert curves[0] == curves[1] and len(curves[0]) == STEPS + STEPS // 10
