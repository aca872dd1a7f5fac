"""The loop: step, log, checkpoint, stop. What is trained and on what are the caller's two functions.

Resume is the same call: the checkpoint is loaded where there is one, batches and random numbers are functions
of the step, and so the resumed training goes through the same states as an unbroken one.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from pipelines.training.checkpoint import load_checkpoint, save_checkpoint
from pipelines.training.metrics import MetricsLog
from pipelines.training.precision import bf16_pays
from pipelines.training.prefetch import prefetch
from pipelines.training.schedule import lr_at
from pipelines.training.state import TrainState
from pipelines.training.stop import StopRequest

Batch = TypeVar("Batch")
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Plan:
    """Length and rhythm of a training. Steps are optimiser updates; `clip` is the largest gradient norm; `bf16` is
    bfloat16 autocast where it pays (see `bf16_pays`); `accumulate` is how many batches make one update."""

    steps: int
    peak_lr: float
    warmup: int = 200
    cooldown: float = 0.2
    clip: float = 1.0
    seed: int = 0
    log_every: int = 50
    save_every: int = 1000
    bf16: bool = True
    accumulate: int = 1


@dataclass(frozen=True)
class FitResult:
    """`finished` is False where a signal stopped the training; its checkpoint then waits for the same call
    again."""

    finished: bool
    step: int
    seconds: float
    loss: float


def fit(
    state: TrainState,
    *,
    batch_at: Callable[[int], Batch],
    losses_of: Callable[[Batch], Mapping[str, Tensor]],
    plan: Plan,
    checkpoint: Path,
    log: MetricsLog,
    on_save: Callable[[TrainState], None] | None = None,
    device: torch.device = CPU,
) -> FitResult:
    """Train `state` up to `plan.steps`, from its checkpoint if there is one.

    `losses_of` returns named scalars; their sum is minimised. Batch `i` is part `i % plan.accumulate` of the update
    `i // plan.accumulate`. The model is on `device` already and `losses_of` brings batches there. Groups of the
    optimiser that have a "name" get their gradient norms logged.

    A loss or gradient that is not finite raises FloatingPointError: the last checkpoint stays as it was, and the batch
    lies beside it.
    """
    load_checkpoint(state, checkpoint)
    means = _Means()
    bf16 = plan.bf16 and bf16_pays(device)
    begun, before, last = time.monotonic(), state.seconds, math.nan
    batches = prefetch(batch_at, state.step * plan.accumulate, plan.steps * plan.accumulate)
    with StopRequest() as stop:
        while state.step < plan.steps and not stop.requested:
            rate = lr_at(state.step, total=plan.steps, peak=plan.peak_lr, warmup=plan.warmup, cooldown=plan.cooldown)
            for group in state.optimizer.param_groups:
                group["lr"] = rate
            state.optimizer.zero_grad(set_to_none=True)
            last = 0.0
            for part in range(plan.accumulate):
                batch = next(batches)
                torch.manual_seed((plan.seed * 1_000_003 + state.step) * plan.accumulate + part)
                with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
                    losses = losses_of(batch)
                total = torch.stack([value.float() for value in losses.values()]).sum() / plan.accumulate
                if not bool(torch.isfinite(total)):
                    raise _not_finite(f"loss is {_show(losses)}", state, batch, checkpoint)
                total.backward()  # type: ignore[no-untyped-call]
                last += float(total.detach())
                means.add(losses)
            norms = _grad_norms(state.optimizer, plan.clip)
            if not math.isfinite(norms["grad_norm"]):
                raise _not_finite("the gradient is not finite", state, batch, checkpoint)
            state.optimizer.step()
            if state.ema is not None:
                state.ema.update(state.model)
            state.step += 1
            state.seconds = before + time.monotonic() - begun
            if state.step % plan.log_every == 0 or state.step == plan.steps:
                log.write(step=state.step, seconds=round(state.seconds, 1), lr=rate, **norms, **means.take())
            if state.step % plan.save_every == 0 or state.step == plan.steps or stop.requested:
                save_checkpoint(state, checkpoint)
                if on_save is not None and not stop.requested:
                    on_save(state)
    batches.close()
    return FitResult(finished=state.step >= plan.steps, step=state.step, seconds=state.seconds, loss=last)


class _Means:
    """Means of named losses since they were last taken."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.count = 0

    def add(self, losses: Mapping[str, Tensor]) -> None:
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(value.detach())
        self.count += 1

    def take(self) -> dict[str, float]:
        means = {name: value / self.count for name, value in self.sums.items()}
        self.sums, self.count = {}, 0
        return means


def _grad_norms(optimizer: torch.optim.Optimizer, clip: float) -> dict[str, float]:
    """Clip all gradients together; their norm, and that of each named group before clipping."""
    norms: dict[str, float] = {}
    for group in optimizer.param_groups:
        if "name" in group:
            grads = [parameter.grad for parameter in group["params"] if parameter.grad is not None]
            norms[f"grad_norm_{group['name']}"] = float(torch.nn.utils.get_total_norm(grads))
    every = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return {"grad_norm": float(torch.nn.utils.clip_grad_norm_(every, clip)), **norms}


def _not_finite(what: str, state: TrainState, batch: object, checkpoint: Path) -> FloatingPointError:
    """The error, with the batch saved beside the checkpoint for whoever looks into it."""
    kept = checkpoint.with_name(f"bad-step-{state.step}.pt")
    kept.parent.mkdir(parents=True, exist_ok=True)
    torch.save(batch, kept)
    return FloatingPointError(f"step {state.step}: {what}; the batch is in {kept}, the last checkpoint is {checkpoint}")


def _show(losses: Mapping[str, Tensor]) -> str:
    return ", ".join(f"{name} {float(value.detach())}" for name, value in losses.items())
