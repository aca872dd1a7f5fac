"""Numbers of the gradient, and what happens when a number is none."""

from pathlib import Path

import torch
from torch import Tensor

from pipelines.training.sharding import gathered
from pipelines.training.state import TrainState


def grad_norms(optimizer: torch.optim.Optimizer, clip: float) -> dict[str, float]:
    """Clip all gradients together; their norm, and that of each named group before clipping."""
    norms: dict[str, float] = {}
    for group in optimizer.param_groups:
        if "name" in group:
            grads = [parameter.grad for parameter in group["params"] if parameter.grad is not None]
            norms[f"grad_norm_{group['name']}"] = _whole(torch.nn.utils.get_total_norm(grads))
    every = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return {"grad_norm": _whole(torch.nn.utils.clip_grad_norm_(every, clip)), **norms}


def _whole(norm: Tensor) -> float:
    return float(gathered(norm))


def not_finite(what: str, state: TrainState, batch: object, checkpoint: Path, rank: int) -> FloatingPointError:
    """The error, with the batch saved beside the checkpoint for whoever looks into it."""
    kept = checkpoint.with_name(f"bad-step-{state.step}{f'-rank-{rank}' if rank else ''}.pt")
    kept.parent.mkdir(parents=True, exist_ok=True)
    torch.save(batch, kept)
    return FloatingPointError(f"step {state.step}: {what}; the batch is in {kept}, the last checkpoint is {checkpoint}")
