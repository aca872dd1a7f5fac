"""Switches of a training that change how it is computed, not what: compile, bf16, gradient checkpointing; and NaN."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch._dynamo.config

from curate.cli import main
from curate.errors import NumericsError
from curate.train.loading import load_uso
from pipelines.training import MetricsLog
from tests.train_parts import make_parts, run, write

NUMBERS = ("flow", "reward", "reward_loss", "grad_norm", "grad_norm_flow", "grad_norm_reward")


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_parts(tmp_path_factory.mktemp("parts"))


def curve(parts: Path, out: Path, **changes: object) -> list[float]:
    reward = {"reward": {"start_step": 1, "num_steps": 2}, "reward_model": str(parts / "csd")}
    code, said = run(write(parts, out, **{"samples": {"count": 0}, "steps": 3, **reward, **changes}))
    assert code == 0, said
    lines = MetricsLog(out / "metrics.jsonl").read()
    return [float(line[name]) for line in lines for name in NUMBERS if name in line]


@pytest.fixture(scope="module")
def plain(parts: Path, tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    """Numbers of the training with no switch on."""
    found = curve(parts, tmp_path_factory.mktemp("plain") / "t")
    assert len(found) == 3 * 3 + 2 * 3
    return found


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # torch hides it, but not where it is an error
def test_a_compiled_training_has_the_plain_curve(
    parts: Path, plain: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the backend that captures graphs and differentiates them ahead of time, without a C++ compiler.

    No block falls back to what it is uncompiled, however many kinds of input the reward brings.
    """
    compiled: list[Any] = []
    ordinary: Callable[..., Any] = torch.compile

    def counting(called: Any) -> Any:
        compiled.append(called)
        return ordinary(called, backend="aot_eager")

    monkeypatch.setattr(torch, "compile", counting)
    monkeypatch.setattr(torch._dynamo.config, "fail_on_recompile_limit_hit", True)
    looking = {"samples": {"count": 1, "split": "train"},
               "validation": {"every": 3, "split": "train", "count": 3, "pictures": 1}}
    found = curve(parts, tmp_path / "c", compile=True, **looking)
    assert found == pytest.approx(plain, rel=1e-3)
    transformer = load_uso(str(parts / "base")).transformer
    blocks = len(transformer.transformer_blocks) + len(transformer.single_transformer_blocks)
    assert len(compiled) == blocks
    curve(parts, tmp_path / "one", stage="style_alignment", compile=True, steps=1, reward=None)
    assert len(compiled) == 2 * blocks + 1  # and the projector, which learns there


def test_checkpointed_gradients_are_the_plain_ones(parts: Path, plain: list[float], tmp_path: Path) -> None:
    assert curve(parts, tmp_path / "g", gradient_checkpointing=True) == pytest.approx(plain, rel=1e-5)


def test_in_bfloat16_a_training_goes_nearly_the_same_way_and_keeps_float32_weights(
    parts: Path, plain: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("pipelines.training.loop", "curate.train.validating"):
        monkeypatch.setattr(f"{module}.bf16_pays", lambda _: True)
    options = {"bf16": True, "gradient_checkpointing": True,
               "validation": {"every": 3, "split": "train", "count": 3, "pictures": 1}}
    found = curve(parts, tmp_path / "b", **options)
    assert found != plain and found == pytest.approx(plain, rel=0.1)
    state = torch.load(tmp_path / "b" / "checkpoint.pt", weights_only=True)["model"]
    assert {value.dtype for value in state.values()} == {torch.float32}
    assert load_uso(str(tmp_path / "b" / "model")).transformer.dtype == torch.float32


@pytest.mark.parametrize(("cached", "readers"), [(False, 1), (True, 0)])
def test_a_loss_that_is_no_number_ends_in_one_line_and_leaves_its_batch(
    parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], cached: bool,
    readers: int,
) -> None:
    broken, uso = tmp_path / "base", load_uso(str(parts / "base"))
    with torch.no_grad():
        uso.transformer.proj_out.bias[0] = torch.nan
    uso.save_pretrained(broken)
    cache = {"cache": str(tmp_path / "cache")} if cached else {}
    path = write(parts, tmp_path / "n", base=str(broken), samples={"count": 0}, readers=readers, **cache)
    monkeypatch.setattr(sys, "argv", ["curate", "train", str(path)])
    with pytest.raises(SystemExit) as caught:
        main()
    said = capsys.readouterr().err
    assert caught.value.code == 2 and "Traceback" not in said
    assert multiprocessing.active_children() == []
    kept = tmp_path / "n" / "bad-step-0.pt"
    assert f"curate: step 0: loss is flow nan; the batch is in {kept}, there is no checkpoint yet" in said
    batch = torch.load(kept, weights_only=True)
    assert batch["positions"] == [0, 1, 2] and batch["drop_style"].shape == (3,)
    assert (batch["missing"] if cached else batch)["target"].shape == (3, 3, 64, 64)


def test_the_error_is_one_of_ours_and_a_floating_point_one() -> None:
    with pytest.raises(FloatingPointError, match="here"):
        raise NumericsError("here")
