"""Which colours an image is made of and how hard its edges are: histograms that gradients pass through.

A drawing's hand is told by its exact palette, which a small network smooths away: over emoji sets that no training
saw, same-set pairs were told from others with AUC 0.81 by an MLP on these counts and 0.64 by a ViT (LOG.md). A pixel
is shared among the neighbouring bins in proportion to its distance, so a colour that moves a little moves the counts a
little (differentiable joint histograms as in DeepHist, arXiv 2005.03995, with triangular kernels instead of its own).
"""

from __future__ import annotations

from itertools import product
from typing import Final

import torch
from torch import Tensor, nn

JOINT_BINS: Final = 16  # a channel, of the joint histogram
CHANNEL_BINS: Final = 64
EDGE_BINS: Final = 64
COUNTS: Final = JOINT_BINS**3 + 3 * CHANNEL_BINS + EDGE_BINS
PIXELS: Final = 4096  # counts are given as of an image of so many
MAX_EDGE: Final = 1 / 3  # mean of the channels; harder steps fall into the last bin


class Palette(nn.Module):
    """Images to vectors: histograms, a hidden layer, a linear one."""

    def __init__(self, dim: int, *, hidden: int = 256, dropout: float = 0.3) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(COUNTS, hidden),
            nn.LayerNorm(hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, dim),
        )

    def forward(self, images: Tensor) -> Tensor:
        """float (B, 3, H, W) in [0, 1] -> (B, dim)."""
        out: Tensor = self.layers(log_counts(images))
        return out


def log_counts(images: Tensor) -> Tensor:
    """float (B, 3, H, W) in [0, 1] -> float32 (B, COUNTS): log(1 + count) / 8 of colours (all three channels
    together, then each alone) and of steps between neighbours."""
    images = images.float().clamp(0, 1)
    pixels = images.flatten(2)
    across = (images[..., 1:] - images[..., :-1]).mean(1).abs().flatten(1)
    down = (images[..., 1:, :] - images[..., :-1, :]).mean(1).abs().flatten(1)
    edges = (torch.cat([across, down], dim=1) / MAX_EDGE).clamp(max=1)
    parts = [
        _soft_counts(pixels, JOINT_BINS),
        *(_soft_counts(pixels[:, channel : channel + 1], CHANNEL_BINS) for channel in range(3)),
        _soft_counts(edges[:, None], EDGE_BINS) / 2,
    ]
    return torch.log1p(torch.cat(parts, dim=1) * (PIXELS / pixels.shape[2])) / 8


def _soft_counts(values: Tensor, bins: int) -> Tensor:
    """(B, D, N) in [0, 1] -> (B, bins ** D): each of N points is shared among the corners of its cell."""
    scaled = values * (bins - 1)
    low = scaled.detach().floor().clamp(max=bins - 2)
    share = scaled - low
    counts = values.new_zeros(len(values), bins ** values.shape[1])
    for corner in product((0, 1), repeat=values.shape[1]):
        place = torch.zeros_like(low[:, 0], dtype=torch.long)
        weight = torch.ones_like(share[:, 0])
        for axis, step in enumerate(corner):
            place = place * bins + low[:, axis].long() + step
            weight = weight * (share[:, axis] if step else 1 - share[:, axis])
        counts = counts.scatter_add(1, place, weight)
    return counts
