"""Tones: what a picture's colours are at each luminance, read off a reference and laid onto an image."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

NUM_TONES: Final = 8  # luminance bands of the statistics, and knots of the curves
_LUMA: Final = (0.299, 0.587, 0.114)  # ITU-R BT.601


def rims(image: Tensor, *, rim_px: int = 3) -> Tensor:
    """Mean colours along the four sides: (B, 3, H, W) -> (B, 12)."""
    sides = [image[..., :rim_px, :], image[..., -rim_px:, :], image[..., :rim_px], image[..., -rim_px:]]
    return torch.cat([side.mean((2, 3)) for side in sides], dim=1)


def luminance(image: Tensor) -> Tensor:
    """(B, 3, H, W) -> (B, H, W)."""
    return torch.einsum("bchw,c->bhw", image, torch.tensor(_LUMA, dtype=image.dtype, device=image.device))


def bands(image: Tensor) -> Tensor:
    """How much each pixel belongs to each luminance band, darkest first, sum 1: (B, 3, H, W) in [-1, 1] ->
    (B, NUM_TONES, H, W)."""
    light = luminance(image)[:, None]
    centres = torch.linspace(-1, 1, NUM_TONES, dtype=image.dtype, device=image.device)[:, None, None]
    return (1 - (light - centres).abs() * (NUM_TONES - 1) / 2).clamp(min=0)


def tones(image: Tensor) -> Tensor:
    """Mean colour and share of each luminance band: (B, 3, H, W) in [-1, 1] -> (B, 4 * NUM_TONES)."""
    belongs = bands(image).flatten(2)  # (B, tones, H W)
    share = belongs.mean(2, keepdim=True)
    colour = belongs @ image.flatten(2).transpose(1, 2) / belongs.shape[2]
    return torch.cat([colour / (share + 0.01), share], dim=2).flatten(1)


def along_curve(image: Tensor, curve: Tensor) -> Tensor:
    """A colour for each pixel by its luminance, linear between the knots: (B, 3, H, W) of an image (B, 3, H, W) in
    [-1, 1] and a curve (B, 3, NUM_TONES)."""
    return torch.einsum("bkhw,bck->bchw", bands(image), curve)
