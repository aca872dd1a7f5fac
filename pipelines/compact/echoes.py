"""Echoes: what of a picture comes again a few pixels away, and in which direction.

A shadow beside its edges, colour plates out of register, a relief lit from one side.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from pipelines.compact.levels import figure_of
from pipelines.compact.tones import luminance

SHADOW_PX: Final = 5
PLATE_PX: Final = 3
RELIEF_PX: Final = 2
NUM_ECHOES: Final = (SHADOW_PX + 1) * (2 * SHADOW_PX + 1) + (2 * PLATE_PX + 1) ** 2 + (2 * RELIEF_PX + 1) ** 2


def echoes(image: Tensor) -> Tensor:
    """Correlations over small moves, (B, 3, H, W) in [-1, 1] -> (B, NUM_ECHOES): of the edges with themselves; and by
    phase alone (Kuglin and Hines 1975) of red with green and green with blue, and of the light with the figure."""
    exact = image.float()
    red, green, blue = exact.unbind(1)
    shadow = _correlation(*[_edges(exact)] * 2, whiten=False)
    shadow = shadow / shadow[:, :1, :1].clamp(min=1e-6)
    plates = (_correlation(red, green) + _correlation(green, blue)) / 2
    relief = _correlation(luminance(exact), figure_of(exact))
    near = [_near(shadow, SHADOW_PX)[:, SHADOW_PX:], _near(plates, PLATE_PX), _near(relief, RELIEF_PX)]
    return torch.cat([each.flatten(1) for each in near], dim=1).to(image.dtype)


def _edges(image: Tensor) -> Tensor:
    """The largest step to the pixel above or to the left, less its mean: (B, H, W)."""
    across = (image - image.roll(1, 3)).abs().amax(1)
    down = (image - image.roll(1, 2)).abs().amax(1)
    edges = torch.maximum(across, down)
    return edges - edges.mean((1, 2), keepdim=True)


def _correlation(first: Tensor, second: Tensor, *, whiten: bool = True) -> Tensor:
    """(B, H, W) each -> (B, H, W): at (d, r) how well `second`, moved by d down and r right, matches `first`."""
    one, two = torch.fft.rfft2(first, norm="ortho"), torch.fft.rfft2(second, norm="ortho")
    cross = one * two.conj()
    if whiten:
        cross = cross / (cross.abs() + 1e-3)
    correlation: Tensor = torch.fft.irfft2(cross, s=first.shape[1:])
    return correlation


def _near(correlation: Tensor, reach_px: int) -> Tensor:
    """The moves by at most `reach_px`: (B, 2 reach + 1, 2 reach + 1), no move in the middle."""
    moved = correlation.roll((reach_px, reach_px), (1, 2))
    return moved[:, : 2 * reach_px + 1, : 2 * reach_px + 1]
