"""The shared training parts: schedule, average, checkpoints, log, prefetch, and a loop that resumes exactly."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from curate.stop import StopFlag
from pipelines.training import (
    Ema,
    FitResult,
    Hooks,
    MetricsLog,
    Plan,
    TrainState,
    fit,
    load_checkpoint,
    lr_at,
    prefetch,
)
from pipelines.training.checkpoint import step_of

PLAN = Plan(steps=12, peak_lr=0.05, warmup=3, cooldown=0.25, log_every=4, save_every=5, bf16=False)


def fresh() -> TrainState:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.3), nn.Linear(8, 1))
    return TrainState(model, torch.optim.AdamW(model.parameters(), lr=0.1), Ema(model, decay=0.9))


def batch_at(step: int) -> Tensor:
    return torch.randn(16, 3, generator=torch.Generator().manual_seed(step))


def train(state: TrainState, folder: Path, plan: Plan = PLAN, *, fail_at: int = -1, kill_at: int = -1) -> FitResult:
    def losses_of(batch: Tensor) -> Mapping[str, Tensor]:
        if state.step == kill_at:
            os.kill(os.getpid(), signal.SIGTERM)
        error = state.model(batch)[:, 0] - batch.sum(1)
        return {
            "square": (error**2).mean() * (torch.nan if state.step == fail_at else 1.0),
            "other": error.abs().mean() * 0,
        }

    return fit(
        state,
        batch_at=batch_at,
        losses_of=losses_of,
        plan=plan,
        checkpoint=folder / "c.pt",
        log=MetricsLog(folder / "m.jsonl"),
    )


def weights(state: TrainState) -> Tensor:
    assert state.ema is not None
    return torch.cat(
        [*(p.detach().flatten() for p in state.model.parameters()), *(v.flatten() for v in state.ema.shadow.values())]
    )


def test_the_rate_warms_up_holds_and_decays() -> None:
    rates = [lr_at(step, total=100, peak=2.0, warmup=10, cooldown=0.2) for step in range(100)]
    assert rates[0] == pytest.approx(0.2)
    assert rates[9] == rates[50] == rates[80] == 2.0
    assert rates[90] == pytest.approx(1.0)
    assert 0 < rates[99] == pytest.approx(0.1)
    assert rates[80:] == sorted(rates[80:], reverse=True)
    with pytest.raises(ValueError, match="outside"):
        lr_at(100, total=100, peak=1.0)


def test_training_lowers_the_loss_and_logs_means(tmp_path: Path) -> None:
    result = train(fresh(), tmp_path, Plan(steps=200, peak_lr=0.05, warmup=5, log_every=50, bf16=False))
    lines = MetricsLog(tmp_path / "m.jsonl").read()
    assert result.finished
    assert [line["step"] for line in lines] == [50, 100, 150, 200]
    assert float(lines[-1]["square"]) < 0.5 * float(lines[0]["square"])


def test_a_stopped_and_resumed_training_equals_an_unbroken_one(tmp_path: Path) -> None:
    unbroken = fresh()
    train(unbroken, tmp_path / "a")
    first = train(fresh(), tmp_path / "b", kill_at=6)
    assert not first.finished
    assert first.step == 7
    resumed = fresh()
    torch.manual_seed(99)
    second = train(resumed, tmp_path / "b")
    assert second.finished
    assert resumed.step == 12
    assert torch.equal(weights(resumed), weights(unbroken))


def test_a_loss_that_is_not_finite_stops_with_the_last_checkpoint_kept(tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match="step 7: loss is square nan, other 0"):
        train(fresh(), tmp_path, fail_at=7)
    torch.testing.assert_close(torch.load(tmp_path / "bad-step-7.pt"), batch_at(7))
    state = fresh()
    assert load_checkpoint(state, tmp_path / "c.pt")
    assert state.step == 5
    assert torch.isfinite(weights(state)).all()


def test_accumulated_parts_make_the_update_of_the_whole_batch(tmp_path: Path) -> None:
    results = []
    for parts in (1, 4):
        torch.manual_seed(0)
        model = nn.Linear(3, 1)
        groups = [{"params": [model.weight], "name": "slope"}, {"params": [model.bias]}]
        state = TrainState(model, torch.optim.SGD(groups, lr=0.1))

        def batches(number: int, parts: int = parts) -> Tensor:
            return batch_at(number // parts).chunk(parts)[number % parts]

        def losses_of(batch: Tensor, model: nn.Module = model) -> Mapping[str, Tensor]:
            return {"square": ((model(batch)[:, 0] - batch.sum(1)) ** 2).mean()}

        plan = Plan(steps=6, peak_lr=0.1, warmup=1, log_every=1, bf16=False, accumulate=parts)
        log = MetricsLog(tmp_path / f"{parts}.jsonl")
        fit(state, batch_at=batches, losses_of=losses_of, plan=plan, checkpoint=tmp_path / f"{parts}.pt", log=log)
        results.append((torch.cat([model.weight.detach()[0], model.bias.detach()]), log.read()))
    (whole, one), (summed, four) = results
    torch.testing.assert_close(summed, whole)
    assert [line["square"] for line in four] == pytest.approx([line["square"] for line in one], rel=1e-4)
    for line in one:
        assert 0 < float(line["grad_norm_slope"]) <= float(line["grad_norm"])


def test_a_gradient_that_is_not_finite_stops_too(tmp_path: Path) -> None:
    state = fresh()

    def losses_of(batch: Tensor) -> Mapping[str, Tensor]:
        return {"root": torch.sqrt((state.model(batch) * 0).abs()).sum()}  # 0, with an infinite slope

    with pytest.raises(FloatingPointError, match="gradient is not finite"):
        fit(
            state,
            batch_at=batch_at,
            losses_of=losses_of,
            plan=PLAN,
            checkpoint=tmp_path / "c",
            log=MetricsLog(tmp_path / "m"),
        )


@dataclass(frozen=True)
class Named:
    keys: list[str]
    values: Tensor


def test_a_gradient_of_several_batches_that_is_not_finite_names_the_samples_of_all(tmp_path: Path) -> None:
    """Any of them may be to blame."""
    state = fresh()

    def losses_of(batch: Named) -> Mapping[str, Tensor]:
        slope = torch.sqrt((state.model(batch.values) * 0).abs()).sum() if batch.keys == ["7"] else 0
        return {"root": state.model(batch.values).sum() + slope}

    with pytest.raises(FloatingPointError, match=r"the last of the update's 3 batches is in .*bad-step-2\.pt"):
        fit(
            state,
            batch_at=lambda number: Named([str(number)], batch_at(number)),
            losses_of=losses_of,
            plan=replace(PLAN, accumulate=3),
            checkpoint=tmp_path / "c",
            log=MetricsLog(tmp_path / "m"),
        )
    kept = torch.load(tmp_path / "bad-step-2.pt", weights_only=True)
    assert kept["update"] == [{"keys": ["6"]}, {"keys": ["7"]}, {"keys": ["8"]}]
    torch.testing.assert_close(kept["last"]["values"], batch_at(8))


def test_the_average_follows_slowly_and_can_be_put_on_and_off() -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    ema = Ema(model, decay=0.5)
    nn.init.ones_(model.weight)
    ema.update(model)
    assert ema.shadow["weight"].item() == pytest.approx(0.9)  # the first decay is (1 + 0) / (10 + 0)
    with ema.applied(model):
        assert model.weight.item() == pytest.approx(0.9)
    assert model.weight.item() == 1.0
    with pytest.raises(ZeroDivisionError), ema.applied(model):
        _ = 1 / 0
    assert model.weight.item() == 1.0


def test_the_log_skips_a_line_that_a_crash_cut_off(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "deep" / "m.jsonl")
    log.write(step=1, loss=1 / 3)
    with log.path.open("a") as file:
        file.write('{"step": 2, "lo')
    assert log.read() == [{"step": 1, "loss": 0.333333}]
    assert json.loads(log.path.read_text().splitlines()[0])["step"] == 1


def test_prefetch_keeps_the_order_and_passes_errors_on() -> None:
    assert list(prefetch(lambda step: step * step, 3, 8)) == [9, 16, 25, 36, 49]
    got = []
    with pytest.raises(ZeroDivisionError):
        for value in prefetch(lambda step: 1 // (3 - step), 0, 9):
            got.append(value)  # noqa: PERF402
    assert len(got) == 3


def test_whoever_looks_on_can_end_a_training_with_a_checkpoint(tmp_path: Path) -> None:
    state = fresh()
    result = fit(state, batch_at=batch_at, losses_of=lambda batch: {"square": state.model(batch).square().mean()},
                 plan=PLAN, checkpoint=tmp_path / "c.pt", log=MetricsLog(tmp_path / "m.jsonl"),
                 hooks=Hooks(stops=lambda: state.step == 7))
    assert not result.finished and result.step == step_of(tmp_path / "c.pt") == 7


def test_prefetch_ends_its_thread_when_the_consumer_leaves() -> None:
    stream = prefetch(lambda step: step, 0, 10_000)
    assert next(stream) == 0
    stream.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name == "prefetch"]


def test_a_second_signal_stops_now_and_the_handlers_come_back() -> None:
    before, stop = signal.getsignal(signal.SIGTERM), StopFlag()
    with pytest.raises(KeyboardInterrupt), stop.on_signals():
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.requested
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1)
    assert signal.getsignal(signal.SIGTERM) is before


def checkpoints(folder: Path) -> dict[str, int]:
    """Step of each checkpoint file."""
    return {file.name: torch.load(file, weights_only=True)["step"] for file in folder.glob("c*.pt")}


def test_the_last_checkpoints_and_the_best_one_stay(tmp_path: Path) -> None:
    state, scores, exported = fresh(), {3: 5.0, 6: 2.0, 9: 4.0, 12: 3.0}, []
    fit(
        state,
        batch_at=batch_at,
        losses_of=lambda batch: {"square": state.model(batch).square().mean()},
        plan=replace(PLAN, save_every=2, keep_last=3, validate_every=3),
        checkpoint=tmp_path / "c.pt",
        log=MetricsLog(tmp_path / "m.jsonl"),
        hooks=Hooks(validate=lambda s: {"val_flow": scores[s.step]}, on_best=lambda s: exported.append(s.step)),
    )
    assert checkpoints(tmp_path) == {"c.pt": 12, "c-best.pt": 6, "c-000000008.pt": 8, "c-000000010.pt": 10,
                                     "c-000000012.pt": 12}
    assert exported == [3, 6]
    lines = [line for line in MetricsLog(tmp_path / "m.jsonl").read() if "val_flow" in line]
    assert [(line["step"], line["val_flow"]) for line in lines] == list(scores.items())
    again = fresh()
    assert load_checkpoint(again, tmp_path / "c.pt")
    assert [each["val_flow"] for each in again.validations] == list(scores.values())


def test_going_back_to_a_checkpoint_loses_none(tmp_path: Path) -> None:
    """By another name for it, as the module says: the new branch keeps its last ones, those of the old one stay."""
    plan = replace(PLAN, save_every=2)
    train(fresh(), tmp_path, replace(plan, keep_last=5))
    os.link(tmp_path / "c-000000004.pt", tmp_path / "back")
    (tmp_path / "back").replace(tmp_path / "c.pt")
    train(fresh(), tmp_path, replace(plan, keep_last=2, steps=8))
    assert checkpoints(tmp_path) == {
        "c.pt": 8, "c-000000006.pt": 6, "c-000000008.pt": 8, "c-000000010.pt": 10, "c-000000012.pt": 12
    }


def test_after_a_resume_the_best_is_still_that_of_the_first_sitting(tmp_path: Path) -> None:
    scores, best = {3: 1.0, 6: 2.0, 9: 1.5, 12: 0.5}, []
    for steps in (6, 12):
        state = fresh()
        fit(
            state,
            batch_at=batch_at,
            losses_of=lambda batch, state=state: {"square": state.model(batch).square().mean()},
            plan=replace(PLAN, steps=steps, validate_every=3),
            checkpoint=tmp_path / "c.pt",
            log=MetricsLog(tmp_path / "m.jsonl"),
            hooks=Hooks(validate=lambda s: {"val_flow": scores[s.step]}, on_best=lambda s: best.append(s.step)),
        )
    assert best == [3, 12]


def test_after_a_crash_the_log_is_that_of_an_unbroken_training(tmp_path: Path) -> None:
    """Steps after the checkpoint are said again, once; losses before it still count in the next mean."""
    def curve(folder: Path) -> list[dict[str, float | int | str]]:
        return [{**line, "seconds": 0} for line in MetricsLog(folder / "m.jsonl").read()]

    train(fresh(), tmp_path / "whole")
    with pytest.raises(FloatingPointError):
        train(fresh(), tmp_path / "crashed", fail_at=9)  # logged at 4 and 8, saved at 5
    with (tmp_path / "crashed" / "m.jsonl").open("a") as file:
        file.write('{"step": 9, "squ')
    train(fresh(), tmp_path / "crashed")
    assert curve(tmp_path / "crashed") == curve(tmp_path / "whole")
