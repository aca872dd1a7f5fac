"""CSD as a differentiable style reward for trainings: the scorer's similarity, on tensors."""

from __future__ import annotations

import torch
from open_clip import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from torch import Tensor
from torch.nn import functional

from filters.csd_network import CsdNetwork


class CsdReward:
    """Cosine of the CSD style vectors of pictures and style images; frozen, but gradients reach the pictures.

    Resized so that the short side fits, bicubic with antialiasing, and cut from the middle, as the scorer's own
    preprocessing does on PIL images.
    """

    def __init__(self, network: CsdNetwork) -> None:
        self.network = network.eval().requires_grad_(False)
        self.mean, self.std = (
            torch.tensor(values).view(1, 3, 1, 1) for values in (OPENAI_DATASET_MEAN, OPENAI_DATASET_STD)
        )

    def __call__(self, pictures: Tensor, styles: Tensor) -> Tensor:
        """float (B, 3, H, W) and (B, 3, S, S) in [-1, 1] -> cosines (B,)."""
        with torch.no_grad():
            wanted = self.network(self._prepare(styles)).style
        found = self.network(self._prepare(pictures.clamp(-1, 1))).style
        cosines: Tensor = (found * wanted).sum(dim=1)
        return cosines

    def _prepare(self, images: Tensor) -> Tensor:
        side = self.network.arch.image_size
        height, width = images.shape[-2:]
        if (height, width) != (side, side):
            scale = side / min(height, width)
            size = [max(side, round(height * scale)), max(side, round(width * scale))]
            images = functional.interpolate(images, size, mode="bicubic", antialias=True, align_corners=False)
            top, left = (size[0] - side) // 2, (size[1] - side) // 2
            images = images[..., top : top + side, left : left + side]
        mean, std = (values.to(images.device, images.dtype) for values in (self.mean, self.std))
        return ((images + 1) / 2 - mean) / std
