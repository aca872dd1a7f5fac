"""Several workers make the training of one: data-parallel copies and weights in pieces, on CPUs."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
import torch.multiprocessing
from safetensors.torch import load_file

from curate.config import load_yaml, parse
from curate.errors import ConfigError
from curate.progress import Progress
from curate.train.config import TrainConfig
from curate.train.distributed import STOP, until_stopped
from curate.train.loading import load_uso
from curate.train.training import Session, train
from pipelines.training import FitResult, Group, MetricsLog
from pipelines.training.checkpoint import step_of
from tests.train_parts import make_parts, run, write

COMMON = {"batch": 4, "steps": 4, "accumulate": 2, 
          "reward": {"start_step": 2, "num_steps": 2, "batch": 3, "recombine": True},
          "optimiser": {"lr": 1e-3, "warmup": 1, "ema": 0.9}, "samples": {"count": 2, "steps": 2, "split": "train"},
          "validation": {"every": 2, "split": "train", "count": 4, "pictures": 2}}
"""Accumulation, a reward that rows without a style do not get and two members cannot share evenly, styles from one
member to the other, an average, validation."""


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_parts(tmp_path_factory.mktemp("parts"))


def config_of(path: Path, **changes: object) -> TrainConfig:
    return parse(TrainConfig, {**load_yaml(path)[0], **changes})


def curve(out: Path, *, of_parts: bool = True) -> list[float]:
    """`of_parts`: with the gradient norms of single losses, which pieces of weights do not give."""
    norms = ("grad_norm", "grad_norm_flow", "grad_norm_reward") if of_parts else ("grad_norm",)
    numbers = ("flow", "reward", "reward_loss", *norms, "val_flow", "val_style")
    lines = MetricsLog(out / "metrics.jsonl").read()
    return [float(line[name]) for line in lines for name in numbers if name in line]


def member(rank: int, port: int, config: TrainConfig) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    try:
        Session(config, Group(distributed=True), torch.device("cpu")).fit()
    finally:
        torch.distributed.destroy_process_group()


def train_by_two(config: TrainConfig) -> None:
    """Two members without Ray."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(member, args=(port, config), nprocs=2)


def assert_same_model(one: Path, other: Path) -> None:
    states = [load_uso(str(out / "model")).transformer.state_dict() for out in (one, other)]
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def alone(parts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The training by one."""
    out = tmp_path_factory.mktemp("alone") / "one"
    train(config_of(write(parts, out, reward_model=str(parts / "csd"), **COMMON)))
    assert len(curve(out)) == 4 * 3 + 2 * 3 + 2 * 2
    return out


def test_two_members_make_the_curve_and_the_model_of_one(parts: Path, alone: Path, tmp_path: Path) -> None:
    train_by_two(config_of(write(parts, tmp_path / "two", workers=2, reward_model=str(parts / "csd"), **COMMON)))
    assert curve(tmp_path / "two") == pytest.approx(curve(alone), rel=1e-4)
    assert_same_model(alone, tmp_path / "two")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_members_with_pieces_of_the_weights_do_too_stopped_and_gone_on_with_by_another_number(
    parts: Path, alone: Path, tmp_path: Path
) -> None:
    two, options = tmp_path / "two", {**COMMON, "reward_model": str(parts / "csd")}
    together = config_of(write(parts, two, workers=2, shard=True, **options))
    train_by_two(together.model_copy(update={"steps": 2}))
    train_by_two(together)
    assert curve(two) == pytest.approx(curve(alone, of_parts=False), rel=1e-4)
    assert_same_model(alone, two)
    train(config_of(write(parts, two, **{**options, "steps": 5})))
    assert [line["step"] for line in MetricsLog(two / "metrics.jsonl").read() if "flow" in line] == [1, 2, 3, 4, 5]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_two_members_make_the_lora_of_one(parts: Path, tmp_path: Path) -> None:
    """Three layers share an A: its gradient must travel once, with the sum of what the three say."""
    options = {**COMMON, "learn": "lora", "lora_rank": 2, "reward_model": str(parts / "csd")}
    train(config_of(write(parts, tmp_path / "one", **options)))
    train_by_two(config_of(write(parts, tmp_path / "two", workers=2, **options)))
    assert curve(tmp_path / "two") == pytest.approx(curve(tmp_path / "one"), rel=1e-4)
    one, two = (load_file(tmp_path / name / "uso" / "dit_lora.safetensors") for name in ("one", "two"))
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_two_workers_of_ray_make_the_curve_of_one(
    parts: Path, alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With paths that are relative to where the command runs."""
    (tmp_path / "here").symlink_to(parts)
    monkeypatch.chdir(tmp_path)
    options = {**COMMON, "reward_model": "here/csd", "cache": "cache"}
    code, said = run(write(Path("here"), Path("two"), workers=2, **options))
    assert code == 0 and "step 4 of 4" in said, said
    assert any((tmp_path / "cache").rglob("*.safetensors"))
    assert curve(tmp_path / "two") == pytest.approx(curve(alone), rel=1e-4)
    assert_same_model(alone, tmp_path / "two")


@pytest.mark.parametrize("twice", [False, True])
def test_a_signal_asks_by_a_file_and_a_second_one_stops_now(tmp_path: Path, twice: bool) -> None:
    """The workers' side is a function that waits for the file, as `Session` looks for it after each update."""
    file, done = tmp_path / STOP, FitResult(finished=False, step=7, seconds=1.0, loss=0.5)
    file.write_bytes(b"of a killed command")
    begun, released = threading.Event(), threading.Event()

    def fit() -> FitResult:
        assert not file.exists()
        begun.set()
        while not file.exists():
            time.sleep(0.01)
        if twice:
            os.kill(os.getpid(), signal.SIGINT)
            released.wait(30)
        return done

    def interrupt() -> None:
        begun.wait(30)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with Progress(10, stream=io.StringIO(), live=False) as progress:
        if twice:
            with pytest.raises(KeyboardInterrupt):
                until_stopped(fit, file, progress)
        else:
            assert until_stopped(fit, file, progress) == done
    released.set()
    assert not file.exists()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_workers_of_ray_after_their_step(parts: Path, tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C reaches all processes of a terminal, SIGTERM the command alone."""
    out = tmp_path / "stopped"
    path = write(parts, out, workers=2, batch=4, steps=10_000, save_every=10_000, samples={"count": 0})
    command = [sys.executable, "-m", "curate.cli", "train", str(path)]
    with subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE, text=True) as training:
        while training.poll() is None and not MetricsLog(out / "metrics.jsonl").read():
            time.sleep(0.1)
        os.killpg(training.pid, number) if number == signal.SIGINT else training.terminate()
        said = training.communicate()[1]
    assert training.returncode == 130 and "stopping after this step" in said, said
    last = MetricsLog(out / "metrics.jsonl").read()[-1]["step"]
    assert 0 < step_of(out / "checkpoint.pt") == last < 10_000 and not (out / STOP).exists()


def test_one_worker_needs_no_ray(parts: Path, tmp_path: Path) -> None:
    path = write(parts, tmp_path / "alone", steps=1, samples={"count": 0})
    code = ("import sys\nclass Absent:\n    def find_spec(self, name, *_):\n        if name.split('.')[0] == 'ray':\n"
            "            raise ModuleNotFoundError(name)\nsys.meta_path.insert(0, Absent())\n"
            f"from curate.cli import app\napp(['train', {str(path)!r}])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "alone" / "model" / "model_index.json").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"workers": 2, "batch": 3}, "a batch of 3 cannot be shared by 2 workers"),
        ({"shard": True}, "workers above 1"),
        ({"shard": True, "workers": 2, "batch": 4, "learn": "lora"}, "learn: full"),
    ],
)
def test_what_cannot_be_shared_is_refused(
    parts: Path, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        config_of(write(parts, tmp_path / "w"), **changes)
