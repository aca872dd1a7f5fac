"""Validation of a training: flow loss on held-out triplets, and style by the reward and by a number beside it."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from curate.train.config import TrainConfig, ValidationConfig
from curate.train.samples import Samples, first_triplets, still
from pipelines.data import Batch, Triplet
from pipelines.data.batches import collate
from pipelines.data.transforms import Shapes, shapes_of, shaping, to_model
from pipelines.training import bf16_pays
from pipelines.uso.training import UsoLosses
from pipelines.uso.validation import FlowValidation, hacked, style_numbers

HACKED = (
    "the reward rises while the independent style number falls: the reward is being hacked; lower reward.weight, start "
    "it later, or take an earlier checkpoint (best/ and checkpoint-best.pt are of the lowest flow loss)"
)

WARNED = "val_hacked"
"""In the log, of a validation after which that was said."""


def watches_too_little(config: TrainConfig) -> str | None:
    """A sentence where the reward is validated, but too seldom for that warning ever to be given."""
    if config.reward is None or config.validation is None or config.validation.pictures == 0:
        return None
    every, window, start = config.validation.every, config.validation.window, config.reward.start_step
    steps = {*range(every, config.steps + 1, every), config.steps}
    counted = sum(step >= start for step in steps)
    if counted >= window:
        return None
    return (f"a hacked reward would not be noticed: that takes {window} validations after the reward's first step, and "
            f"there will be {counted}; lower validation.every or validation.window")


class Validator:
    """Made once; called with the weights that are to be judged in place."""

    def __init__(self, config: TrainConfig, validation: ValidationConfig, losses: UsoLosses) -> None:
        self.config, self.validation, self.losses = config, validation, losses
        self.flow = FlowValidation(losses, _batches(config, validation), validation.levels)
        self.samples = Samples(config, first_triplets(config, validation.split, validation.pictures))

    @torch.no_grad()
    def __call__(self, device: torch.device) -> dict[str, float]:
        """All numbers, by the names that the log has."""
        with torch.autocast(device.type, torch.bfloat16, enabled=self.config.bf16 and bf16_pays(device)):
            numbers = self.flow(device)
            styles = [to_model(each.style) for each in self.samples.pictures if each.style is not None]
            if styles:
                made = [each.float() for each in self.samples.make(self.losses.pipeline)]
                wanted = torch.stack(styles).to(device)
                numbers |= style_numbers(self.losses, made, wanted, self.losses.style_reward)
        return numbers

    def warns(self, validations: Sequence[dict[str, float]]) -> bool:
        """Whether the reward is being hacked, as far as these tell."""
        if self.config.reward is None:
            return False
        start, window = self.config.reward.start_step, self.validation.window
        return hacked(validations, start_step=start, window=window)


def _batches(config: TrainConfig, validation: ValidationConfig) -> list[Batch]:
    """The first `count` triplets of the split, each once, in batches of equal shapes."""
    data = still(config.data, validation.split)
    alike: dict[Shapes, list[Triplet]] = {}
    for each in first_triplets(config, validation.split, validation.count):
        shapes = shapes_of([each.member(role).size for role in shaping(data.roles)], data)
        alike.setdefault(shapes, []).append(each)
    return [
        collate(group[start : start + config.batch], data, seed=config.seed)
        for group in alike.values()
        for start in range(0, len(group), config.batch)
    ]
