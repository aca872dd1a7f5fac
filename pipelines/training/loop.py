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
from pipelines.training.prefetch import prefetch
from pipelines.training.schedule import lr_at
from pipelines.training.state import TrainState
from pipelines.training.stop import StopRequest

Batch = TypeVar("Batch")


@dataclass(frozen=True)
class Plan:
    """Length and rhythm of a training. Steps are optimiser updates; `clip` is the largest gradient norm."""

    steps: int
    peak_lr: float
    warmup: int = 200
    cooldown: float = 0.2
    clip: float = 1.0
    seed: int = 0
    log_every: int = 50
    save_every: int = 1000
    bf16: bool = True


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
) -> FitResult:
    """Train `state` up to `plan.steps`, from its checkpoint if there is one.

    `losses_of` returns named scalars; their sum is minimised. A loss that is not finite raises
    FloatingPointError: the last checkpoint stays as it was.
    """
    load_checkpoint(state, checkpoint)
    parameters = [p for group in state.optimizer.param_groups for p in group["params"]]
    sums: dict[str, float] = {}
    begun, logged_at, last = time.monotonic(), state.step, math.nan
    before = state.seconds
    with StopRequest() as stop:
        for batch in prefetch(batch_at, state.step, plan.steps):
            rate = lr_at(state.step, total=plan.steps, peak=plan.peak_lr, warmup=plan.warmup, cooldown=plan.cooldown)
            for group in state.optimizer.param_groups:
                group["lr"] = rate
            torch.manual_seed(plan.seed * 1_000_003 + state.step)
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=plan.bf16):
                losses = losses_of(batch)
            total = torch.stack([value.float() for value in losses.values()]).sum()
            if not bool(torch.isfinite(total)):
                raise FloatingPointError(
                    f"step {state.step}: loss is {_show(losses)}; the last checkpoint is {checkpoint}"
                )
            state.optimizer.zero_grad(set_to_none=True)
            total.backward()  # type: ignore[no-untyped-call]
            norm = torch.nn.utils.clip_grad_norm_(parameters, plan.clip)
            if not bool(torch.isfinite(norm)):
                raise FloatingPointError(
                    f"step {state.step}: the gradient is not finite; the last checkpoint is {checkpoint}"
                )
            state.optimizer.step()
            if state.ema is not None:
                state.ema.update(state.model)
            state.step += 1
            state.seconds = before + time.monotonic() - begun
            last = float(total.detach())
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + float(value.detach())
            if state.step % plan.log_every == 0 or state.step == plan.steps:
                count = state.step - logged_at
                means = {name: value / count for name, value in sums.items()}
                log.write(step=state.step, seconds=round(state.seconds, 1), lr=rate, grad_norm=float(norm), **means)
                sums, logged_at = {}, state.step
            if state.step % plan.save_every == 0 or state.step == plan.steps or stop.requested:
                save_checkpoint(state, checkpoint)
                if on_save is not None and not stop.requested:
                    on_save(state)
            if stop.requested:
                break
    return FitResult(finished=state.step >= plan.steps, step=state.step, seconds=state.seconds, loss=last)


def _show(losses: Mapping[str, Tensor]) -> str:
    return ", ".join(f"{name} {float(value.detach())}" for name, value in losses.items())
