"""Luminance planes and their gradients, shared by the scorers that look at pixels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL.Image import Image, Resampling

Plane = npt.NDArray[np.float32]


def luminance(image: Image, size_px: int) -> Plane:
    """(size_px, size_px) float32 in [0, 1]: ITU-R 601 luma, squashed to a square as both images of a pair
    are.
    """
    grey = image.convert("L").resize((size_px, size_px), Resampling.BICUBIC)
    return np.asarray(grey, dtype=np.float32) / np.float32(255)


def edge_strength(plane: Plane) -> Plane:
    """Gradient magnitude (H, W) by central differences; zero at the border."""
    dx, dy = np.zeros_like(plane), np.zeros_like(plane)
    dx[:, 1:-1] = (plane[:, 2:] - plane[:, :-2]) / 2
    dy[1:-1] = (plane[2:] - plane[:-2]) / 2
    return np.hypot(dx, dy).astype(np.float32)
