"""Everything that a training changes: model, optimiser, average, step. What is in here is what a checkpoint
holds."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from pipelines.training.ema import Ema
from pipelines.training.means import Means
from pipelines.training.sharding import placed


@dataclass
class TrainState:
    """`step` counts finished updates; `seconds` the training time over all sittings; `validations` are the numbers of
    all validations so far, each with its "step"; `means` the losses since they were last logged."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    ema: Ema | None = None
    step: int = 0
    seconds: float = 0.0
    validations: list[dict[str, float]] = field(default_factory=list)
    means: Means = field(default_factory=Means)

    def state_dict(self) -> dict[str, Any]:
        """Tensors and numbers only: loadable with `weights_only=True`."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "ema": None if self.ema is None else self.ema.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "validations": self.validations,
            "means": self.means.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`, in place."""
        own = self.model.state_dict()
        model = {name: placed(value, own[name]) if name in own else value for name, value in state["model"].items()}
        self.model.load_state_dict(model)
        self.optimizer.load_state_dict(self._cut(state["optimizer"]))
        if self.ema is not None:
            if state["ema"] is None:
                raise ValueError("the checkpoint has no EMA but this training keeps one")
            self.ema.load_state_dict(state["ema"])
        self.step = int(state["step"])
        self.seconds = float(state["seconds"])
        self.validations = list(state.get("validations", []))
        self.means.load_state_dict(state.get("means", Means().state_dict()))

    def _cut(self, state: dict[str, Any]) -> dict[str, Any]:
        """The optimiser's state, cut as the parameters are."""
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        moments = {
            place: {
                name: placed(value, parameters[place]) if isinstance(value, Tensor) and value.ndim else value
                for name, value in values.items()
            }
            for place, values in state["state"].items()
        }
        return {**state, "state": moments}
