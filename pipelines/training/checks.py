"""Numbers of the gradient, and what happens when a number is none."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from curate.errors import NumericsError
from pipelines.training.group import Group
from pipelines.training.sharding import gathered
from pipelines.training.state import TrainState


def grad_norms(optimizer: torch.optim.Optimizer, clip: float, *, named: bool) -> dict[str, float]:
    """Clip all gradients together; their norm, and if `named` that of each group with a name before clipping."""
    norms: dict[str, float] = {}
    for group in optimizer.param_groups:
        if named and "name" in group:
            grads = [parameter.grad for parameter in group["params"] if parameter.grad is not None]
            norms[f"grad_norm_{group['name']}"] = _whole(torch.nn.utils.get_total_norm(grads))
    every = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return {"grad_norm": _whole(torch.nn.utils.clip_grad_norm_(every, clip)), **norms}


class PartGradients:
    """Gradient norms of the single losses of one update, beside that of their sum.

    `backward` on the sum goes on as if nothing had been asked, so the training stays the same to the bit. Each loss but
    the last costs another backward pass; the last one's gradient is what is left of the sum's.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, group: Group) -> None:
        self.parameters = [parameter for each in optimizer.param_groups for parameter in each["params"]]
        self.group = group
        self.sums: dict[str, list[Tensor]] = {}
        self.last = ""

    def add(self, losses: Mapping[str, Tensor], *, parts: int) -> None:
        """One of the update's `parts`, before its own backward pass."""
        *firsts, self.last = losses
        for name in firsts:
            found = torch.autograd.grad(
                losses[name].float() / parts, self.parameters, retain_graph=True, allow_unused=True
            )
            there = [torch.zeros_like(p) if g is None else g for p, g in zip(self.parameters, found, strict=True)]
            if name in self.sums:
                torch._foreach_add_(self.sums[name], there)
            else:
                self.sums[name] = there

    def norms(self) -> dict[str, float]:
        """`grad_norm_<loss>`, a trailing `_loss` left out, once all of the update is in the parameters' gradients and
        nothing is clipped yet. All members of the group call it."""
        rest = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters]
        norms = {}
        for name, sums in self.sums.items():
            self.group.average(sums)
            rest = list(torch._foreach_sub(rest, sums))
            norms[name] = torch.nn.utils.get_total_norm(sums)
        norms[self.last] = torch.nn.utils.get_total_norm(rest)
        return {f"grad_norm_{name.removesuffix('_loss')}": float(norm) for name, norm in norms.items()}


def _whole(norm: Tensor) -> float:
    return float(gathered(norm))


def sample_names(batch: object) -> dict[str, object]:
    """Which samples a batch is made of, as far as it says so."""
    return {name: getattr(batch, name) for name in ("positions", "keys") if hasattr(batch, name)}


def not_finite(
    what: str, state: TrainState, batch: object, checkpoint: Path, rank: int, *, update: Sequence[object] = ()
) -> NumericsError:
    """The error, with the batch saved beside the checkpoint for whoever looks into it: as plain dicts, lists and
    tensors, so that `torch.load(..., weights_only=True)` opens it without this project.

    `update` names the samples of all batches of an update, of which `batch` is the last: where there are several, any
    of them may be to blame, and the file has their names too."""
    kept = checkpoint.with_name(f"bad-step-{state.step}{f'-rank-{rank}' if rank else ''}.pt")
    kept.parent.mkdir(parents=True, exist_ok=True)
    several = len(update) > 1
    torch.save({"last": _plain(batch), "update": _plain(update)} if several else _plain(batch), kept)
    which = f"the batch is in {kept}"
    if several:
        which = f"the last of the update's {len(update)} batches is in {kept} (and the names of the samples of all)"
    last = f"the last checkpoint is {checkpoint}" if checkpoint.exists() else "there is no checkpoint yet"
    return NumericsError(f"step {state.step}: {what}; {which}, {last}")


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return torch.from_numpy(value)
    if is_dataclass(value):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value if isinstance(value, str | int | float | bool | None) else repr(value)
