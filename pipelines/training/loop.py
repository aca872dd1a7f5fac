"""The loop: step, log, checkpoint, stop. What is trained and on what are the caller's two functions.

Resume is the same call: the checkpoint is loaded where there is one, batches and random numbers are functions
of the step, and so the resumed training goes through the same states as an unbroken one.
"""

import math
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from curate.stop import StopFlag
from pipelines.training.checkpoint import clear_unfinished, load_checkpoint, save_checkpoint
from pipelines.training.checks import PartGradients, grad_norms, not_finite, sample_names
from pipelines.training.group import Group
from pipelines.training.means import Means
from pipelines.training.metrics import MetricsLog
from pipelines.training.plan import FitResult, Hooks, Plan
from pipelines.training.precision import bf16_pays
from pipelines.training.prefetch import prefetch
from pipelines.training.schedule import lr_at
from pipelines.training.state import TrainState

Batch = TypeVar("Batch")
CPU = torch.device("cpu")
NO_HOOKS = Hooks()


def fit(
    state: TrainState,
    *,
    batch_at: Callable[[int], Batch],
    losses_of: Callable[[Batch], Mapping[str, Tensor]],
    plan: Plan,
    checkpoint: Path,
    log: MetricsLog,
    on_save: Callable[[TrainState], None] | None = None,
    hooks: Hooks = NO_HOOKS,
    device: torch.device = CPU,
    group: Group | None = None,
    wrapped: nn.Module | None = None,
) -> FitResult:
    """Train `state` up to `plan.steps`, from its checkpoint if there is one.

    `losses_of` returns named scalars; their sum is minimised. Batch `i` is part `i % plan.accumulate` of the update
    `i // plan.accumulate`. The model is on `device` already and `losses_of` brings batches there. Groups of the
    optimiser that have a "name" get their gradient norms logged. In a `group` of several processes each has its own
    share of a batch, `wrapped` is what `group.wrap` gave, and losses are means over all.

    A loss or gradient that is not finite raises NumericsError: the last checkpoint stays as it was, and the batch
    lies beside it. The first SIGINT or SIGTERM, or `hooks.stops`, ends it after the update with a checkpoint.
    """
    group = group or Group()
    load_checkpoint(state, checkpoint)
    if group.leads:
        log.rewind(state.step)
        clear_unfinished(checkpoint)
    bf16 = plan.bf16 and bf16_pays(device)
    begun, before, last = time.monotonic(), state.seconds, math.nan
    made = prefetch(batch_at, state.step * plan.accumulate, plan.steps * plan.accumulate)
    hooks.watch.begun(state.step)
    stop = StopFlag()
    with closing(made) as batches, stop.on_signals():
        stopping = False
        while state.step < plan.steps and not stopping:
            rate = lr_at(state.step, total=plan.steps, peak=plan.peak_lr, warmup=plan.warmup, cooldown=plan.cooldown)
            for parameters in state.optimizer.param_groups:
                parameters["lr"] = rate
            state.optimizer.zero_grad(set_to_none=True)
            update = Means()
            ends = state.step + 1 == plan.steps
            logs = (state.step + 1) % plan.log_every == 0 or ends
            single = PartGradients(state.optimizer, group) if logs and plan.part_norms else None
            samples: list[object] = []
            for part in range(plan.accumulate):
                batch = next(batches)
                samples.append(sample_names(batch))
                _seed((plan.seed * 1_000_003 + state.step) * plan.accumulate + part, device)
                with group.travelling(wrapped, last=part == plan.accumulate - 1):
                    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
                        losses = losses_of(batch)
                    total = torch.stack([value.float() for value in losses.values()]).sum() / plan.accumulate
                    seen = group.mean(losses, device)
                    if not math.isfinite(sum(seen.values())):
                        raise not_finite(f"loss is {_show(losses)}", state, batch, checkpoint, group.rank)
                    if single is not None:
                        single.add(losses, parts=plan.accumulate)
                    total.backward()  # type: ignore[no-untyped-call]
                update.add(seen)
            norms = {} if single is None else single.norms()
            norms |= grad_norms(state.optimizer, plan.clip, named=logs)
            if not math.isfinite(norms["grad_norm"]):
                raise not_finite("the gradient is not finite", state, batch, checkpoint, group.rank, update=samples)
            state.optimizer.step()
            if state.ema is not None:
                state.ema.update(state.model)
            seen = update.take()
            last = sum(seen.values())
            shown = seen if hooks.numbers is None else {**seen, **hooks.numbers(state)}
            state.means.add(shown)
            state.step += 1
            state.seconds = before + time.monotonic() - begun
            hooks.watch.stepped(state.step, shown)
            stopping = group.any(stop.requested or hooks.stops(), device)
            if logs:
                _log(log, state, {"lr": rate, **norms, **state.means.take()}, hooks, group)
            best = False
            if hooks.validate is not None and (state.step % plan.validate_every == 0 or ends):
                best = _validate(log, state, plan, hooks, group, device)
            if hooks.on_best is not None and best:  # before the checkpoint: after a crash in between it is made again
                hooks.on_best(state)
            if state.step % plan.save_every == 0 or ends or stopping or best:
                save_checkpoint(state, checkpoint, keep_last=plan.keep_last, best=best, write=group.leads)
                if on_save is not None and (state.step % plan.save_every == 0 or ends) and not stopping:
                    on_save(state)
    return FitResult(finished=state.step >= plan.steps, step=state.step, seconds=state.seconds, loss=last)


def _seed(seed: int, device: torch.device) -> None:
    """On a CPU its generator alone: `torch.manual_seed` formats a stack trace for each kind of device not in use."""
    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)


def _log(log: MetricsLog, state: TrainState, values: Mapping[str, float], hooks: Hooks, group: Group) -> None:
    if group.leads:
        log.write(step=state.step, seconds=round(state.seconds, 1), **values)
        hooks.watch.logged(state.step, values)


def _validate(
    log: MetricsLog, state: TrainState, plan: Plan, hooks: Hooks, group: Group, device: torch.device
) -> bool:
    """Whether this is the best validation so far. All members take the same numbers, or they would part ways."""
    assert hooks.validate is not None
    numbers = group.mean(hooks.validate(state), device)
    former = [each[plan.best_by] for each in state.validations if plan.best_by in each]
    state.validations.append({"step": state.step, **numbers})
    _log(log, state, numbers, hooks, group)
    return plan.best_by in numbers and all(numbers[plan.best_by] < each for each in former)


def _show(losses: Mapping[str, Tensor]) -> str:
    return ", ".join(f"{name} {float(value.detach())}" for name, value in losses.items())
