"""Exponential moving average of weights, with a horizon that grows while training is young."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from pipelines.training.sharding import placed


class Ema:
    """Float32 averages of a module's parameters; buffers are not averaged.

    The decay at update n is min(decay, (1 + n) / (10 + n)), so early weights are forgotten quickly.
    """

    def __init__(self, module: nn.Module, *, decay: float = 0.999) -> None:
        self.decay = decay
        self.num_updates = 0
        self.shadow = {name: value.detach().clone().float() for name, value in module.named_parameters()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Move the averages towards the module's present weights."""
        decay = min(self.decay, (1 + self.num_updates) / (10 + self.num_updates))
        self.num_updates += 1
        values = [value.detach().float() for _, value in module.named_parameters()]
        torch._foreach_lerp_(list(self.shadow.values()), values, 1 - decay)

    @contextmanager
    def applied(self, module: nn.Module) -> Iterator[None]:
        """Inside, the module has the averaged weights; afterwards its own again."""
        own = {name: value.detach().clone() for name, value in module.named_parameters()}
        _copy(self.shadow, module)
        try:
            yield
        finally:
            _copy(own, module)

    def put_on(self, module: nn.Module) -> None:
        """Give the module the averaged weights for good."""
        _copy(self.shadow, module)

    def state_dict(self) -> dict[str, object]:
        """For checkpoints."""
        return {"shadow": self.shadow, "num_updates": self.num_updates, "decay": self.decay}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Inverse of `state_dict`; names must be this module's."""
        shadow = state["shadow"]
        assert isinstance(shadow, dict)
        if shadow.keys() != self.shadow.keys():
            raise ValueError("the EMA in the checkpoint belongs to another model")
        for name, value in shadow.items():
            self.shadow[name].copy_(placed(value, self.shadow[name]))
        self.num_updates = int(state["num_updates"])  # type: ignore[call-overload]
        self.decay = float(state["decay"])  # type: ignore[arg-type]


@torch.no_grad()
def _copy(values: dict[str, torch.Tensor], module: nn.Module) -> None:
    for name, parameter in module.named_parameters():
        parameter.copy_(values[name])
