"""Another layout for de-stylization: a seeded similarity transform of the stylized input, before the network
sees it.

Why a transform and not a learned other layout: the emoji sets hold natural pairs whose layout differs, but
regression from one to the other averages over all layouts that could be meant and gives the right colours
without shapes. A transform keeps every shape crisp, and its truth is known to the pixel.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Similarity:
    """Mirror, then scale and turn about the centre, then shift. Shifts are in half image widths, the angle
    in radians."""

    mirror: bool
    scale: float
    angle: float
    right: float
    down: float


IDENTITY = Similarity(mirror=False, scale=1.0, angle=0.0, right=0.0, down=0.0)


def draw_similarity(generator: torch.Generator) -> Similarity:
    """Mirrored in half of the draws, scale 0.75 to 1.05, up to 20 degrees either way, shifted as far as the
    scale leaves room.

    Always away from the identity: not mirrored means smaller (at most 0.92) and turned by at least 8 degrees.
    """
    first, second, third, fourth, fifth, sixth = torch.rand(6, generator=generator, dtype=torch.float64).tolist()
    mirror = first < 0.5
    scale = 0.75 + second * (0.30 if mirror else 0.17)
    least = 0.0 if mirror else 8.0
    angle = math.radians(least + third * (20.0 - least)) * (1.0 if fourth < 0.5 else -1.0)
    room = max(0.0, 1.0 - scale) * 0.8
    return Similarity(
        mirror=mirror, scale=scale, angle=angle, right=(2 * fifth - 1) * room, down=(2 * sixth - 1) * room
    )


def transform(images: Tensor, similarities: list[Similarity], fill: Tensor) -> Tensor:
    """Move each image, float (B, 3, H, W), by its similarity; what comes in from outside is `fill`, (B, 3)."""
    matrices = torch.stack([_sampling_matrix(each) for each in similarities]).to(images.dtype)
    grid = F.affine_grid(matrices, list(images.shape), align_corners=False)
    ground = fill[:, :, None, None]
    return F.grid_sample(images - ground, grid, padding_mode="zeros", align_corners=False) + ground


def paper_of(images: Tensor, *, rim_px: int = 2, inset_px: int = 0) -> Tensor:
    """The background colour, (B, 3): the median over a rim of `rim_px` pixels, `inset_px` from the border,
    of (B, 3, H, W)."""
    if inset_px:
        images = images[..., inset_px:-inset_px, inset_px:-inset_px]
    rim = [images[:, :, :rim_px], images[:, :, -rim_px:], images[..., :rim_px], images[..., -rim_px:]]
    return torch.cat([part.flatten(2) for part in rim], dim=2).median(dim=2).values


def _sampling_matrix(similarity: Similarity) -> Tensor:
    """float32 (2, 3): output position -> input position, the inverse of the transform."""
    cosine, sine = math.cos(similarity.angle) / similarity.scale, math.sin(similarity.angle) / similarity.scale
    flip = -1.0 if similarity.mirror else 1.0
    rows = [
        [flip * cosine, flip * sine, -flip * (cosine * similarity.right + sine * similarity.down)],
        [-sine, cosine, sine * similarity.right - cosine * similarity.down],
    ]
    return torch.tensor(rows, dtype=torch.float32)
