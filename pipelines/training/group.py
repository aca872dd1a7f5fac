"""The processes that train one model together: what the loop must ask and tell the others.

One process is the common case. Every member goes through the same steps and the same hooks, so that none waits for
another's errand; what goes to disk is written by the leader alone. Data parallelism itself is `wrap`: torch's
DistributedDataParallel, or FSDP2's `fully_shard` (see `pipelines.training.sharding`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


class Group:
    """This process alone, or with `distributed` all members of torch.distributed's default group, which has begun."""

    def __init__(self, *, distributed: bool = False) -> None:
        self.rank = torch.distributed.get_rank() if distributed else 0
        self.world = torch.distributed.get_world_size() if distributed else 1

    @property
    def leads(self) -> bool:
        """Whether this member writes files and speaks to the user."""
        return self.rank == 0

    def wrap(self, module: nn.Module) -> nn.Module:
        """The module whose gradients are averaged over all members. Unwrapped weights are the same objects."""
        if self.world == 1:
            return module
        # the reward calls the denoiser several times before one backward: buffers must not be written in between
        return DistributedDataParallel(module, broadcast_buffers=False)

    def travelling(self, wrapped: nn.Module | None, *, last: bool) -> AbstractContextManager[object]:
        """Around forward and backward of one part of an update: gradients travel with the last part alone."""
        if last or not isinstance(wrapped, DistributedDataParallel):
            return nullcontext()
        return wrapped.no_sync()

    def mean(self, values: Mapping[str, Tensor | float], device: torch.device) -> dict[str, float]:
        """Means over the members, the same numbers for all of them; names and their order must be the same."""
        numbers = [float(value.detach()) if isinstance(value, Tensor) else value for value in values.values()]
        if self.world == 1:
            return dict(zip(values, numbers, strict=True))
        held = torch.tensor(numbers, dtype=torch.float64, device=device)
        torch.distributed.all_reduce(held)
        return dict(zip(values, (held / self.world).tolist(), strict=True))

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace each by its mean over the members."""
        if self.world > 1:
            for tensor in tensors:
                torch.distributed.all_reduce(tensor)
            torch._foreach_div_(list(tensors), self.world)

    def gather(self, tensor: Tensor) -> Tensor:
        """(...), of equal shape in all members -> (members, ...), the same for all of them; without gradient."""
        if self.world == 1:
            return tensor.detach()[None]
        held = [torch.empty_like(tensor) for _ in range(self.world)]
        torch.distributed.all_gather(held, tensor.detach().contiguous())
        return torch.stack(held)

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether it is so for any member."""
        return self.mean({"flag": float(flag)}, device)["flag"] > 0
