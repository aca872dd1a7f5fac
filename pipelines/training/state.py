"""Everything that a training changes: model, optimiser, average, step. What is in here is what a checkpoint
holds."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from pipelines.training.ema import Ema


@dataclass
class TrainState:
    """`step` counts finished updates; `seconds` the training time over all sittings."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    ema: Ema | None = None
    step: int = 0
    seconds: float = 0.0

    def state_dict(self) -> dict[str, Any]:
        """Tensors and numbers only: loadable with `weights_only=True`."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "ema": None if self.ema is None else self.ema.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`, in place."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.ema is not None:
            if state["ema"] is None:
                raise ValueError("the checkpoint has no EMA but this training keeps one")
            self.ema.load_state_dict(state["ema"])
        self.step = int(state["step"])
        self.seconds = float(state["seconds"])
