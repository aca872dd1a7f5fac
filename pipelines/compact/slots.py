"""Slots: places of a picture that the style encoder looks at, each for the colours found there.

Means over whole pictures blur a thin rim or a sparse ink away; a slot that has learned to look at them reads their
colour exactly.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SLOT_NUMBERS: Final = 3 + 3 + 1  # mean colour, its spread, how much of the picture the slot looks at


class Slots(nn.Module):
    """`num_slots` learned looks at a picture, by features of its places."""

    def __init__(self, num_features: int, hidden: int, num_slots: int) -> None:
        super().__init__()
        self.looks = nn.Sequential(nn.Conv2d(num_features, hidden, 1), nn.SiLU(), nn.Conv2d(hidden, num_slots, 1))

    def forward(self, image: Tensor, features: Tensor) -> Tensor:
        """(B, SLOT_NUMBERS * slots) of an image (B, 3, H, W) and features (B, C, h, w) of its places."""
        places = features.shape[2], features.shape[3]
        pixels = F.adaptive_avg_pool2d(image.float(), places).flatten(2).transpose(1, 2)  # (B, h w, 3)
        looks = self.looks(features).flatten(2).float().softmax(2)  # (B, slots, h w), sum 1; in half small ones are 0
        mean = looks @ pixels
        spread = ((looks @ pixels.square() - mean.square()).clamp(min=0) + 1e-6).sqrt()
        extent = -(looks * (looks + 1e-9).log()).sum(2, keepdim=True) / math.log(looks.shape[2])
        return torch.cat([mean, spread, extent], dim=2).flatten(1).to(image.dtype)
