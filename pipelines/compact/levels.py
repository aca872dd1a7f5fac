"""Levels: whether a picture's colours come in steps, and in how many."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from pipelines.compact.papers import grounds_of, likeness

MOST_STEPS: Final = 8
NUM_LEVELS: Final = 3 * 2 * MOST_STEPS


def figure_of(image: Tensor) -> Tensor:
    """How much each pixel is not ground: (B, 3, H, W) in [-1, 1] -> (B, H, W) in [0, 1]."""
    return 1 - likeness(image, grounds_of(image)).amax(1)


def levels(image: Tensor) -> Tensor:
    """The characteristic function of each channel's values off the ground, real and imaginary, at 1 to `MOST_STEPS`
    turns over the range: at k turns it is 1 if all values are whole k-ths. (B, 3, H, W) in [-1, 1] ->
    (B, NUM_LEVELS)."""
    image = image.float()
    weight = figure_of(image)[:, None]
    weight = weight / weight.sum((2, 3), keepdim=True).clamp(min=1)
    angles = torch.pi * (image + 1)
    at = [
        (weight * turned).sum((2, 3))
        for k in range(1, MOST_STEPS + 1)
        for turned in ((k * angles).cos(), (k * angles).sin())
    ]
    return torch.cat(at, dim=1)
