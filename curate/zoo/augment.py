"""What the scorers' trainings do to a drawing before it is painted.

`move` and `soften` are of no consequence for style and subject. `throw` and `recolour` are for models of subjects
alone: they change what such a model must not lean on, place and colours. To models of styles `recolour` and
`nudge_colours` give sets that nobody has drawn.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from curate.parametric.canvas import LUMA

Pixels = NDArray[np.uint8]
Floats = NDArray[np.floating[Any]]

SHIFT_PX: Final = 5
RESCALE_CHANCE: Final = 0.3
SOFTEN_CHANCE: Final = 0.25  # generated images are softer than rendered ones; a scorer must not care


def move(rgba: Pixels, rng: np.random.Generator) -> Pixels:
    """Flip, shift by up to SHIFT_PX, sometimes rescale by 0.8 to 1.1; transparency fills in."""
    if rng.random() < 0.5:
        rgba = rgba[:, ::-1]
    height, width = rgba.shape[:2]
    dx, dy = rng.integers(-SHIFT_PX, SHIFT_PX + 1, size=2).tolist()
    if rng.random() < RESCALE_CHANCE:
        return _warp(rgba, scale=float(rng.uniform(0.8, 1.1)), angle=0.0, dx=dx, dy=dy)
    shifted = np.zeros_like(rgba)
    shifted[max(dy, 0) : height + min(dy, 0), max(dx, 0) : width + min(dx, 0)] = rgba[
        max(-dy, 0) : height + min(-dy, 0), max(-dx, 0) : width + min(-dx, 0)
    ]
    return shifted


def throw(rgba: Pixels, rng: np.random.Generator) -> Pixels:
    """Flip, turn by up to 20 degrees, rescale by 0.7 to 1.15, shift by up to SHIFT_PX: the subject stays what it is."""
    if rng.random() < 0.5:
        rgba = rgba[:, ::-1]
    dx, dy = rng.uniform(-SHIFT_PX, SHIFT_PX, size=2).tolist()
    angle = float(np.radians(rng.uniform(-20, 20)))
    return _warp(rgba, scale=float(rng.uniform(0.7, 1.15)), angle=angle, dx=dx, dy=dy)


def _warp(rgba: Pixels, *, scale: float, angle: float, dx: float, dy: float) -> Pixels:
    height, width = rgba.shape[:2]
    cosine, sine = np.cos(angle) / scale, np.sin(angle) / scale
    x, y = width / 2 + dx, height / 2 + dy
    matrix = (cosine, sine, width / 2 - cosine * x - sine * y, -sine, cosine, height / 2 + sine * x - cosine * y)
    # premultiplied, so that edges do not darken
    image = Image.fromarray(np.ascontiguousarray(rgba)).convert("RGBa")
    moved = image.transform((width, height), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    return np.asarray(moved.convert("RGBA"))


def soften(rgb: Pixels, rng: np.random.Generator) -> Pixels:
    """Sometimes a blur of 0.2 to 0.7 px."""
    if rng.random() >= SOFTEN_CHANCE:
        return rgb
    return np.asarray(Image.fromarray(rgb).filter(ImageFilter.GaussianBlur(float(rng.uniform(0.2, 0.7)))))


def recolour(rgba: Pixels, rng: np.random.Generator) -> Pixels:
    """Another colouring of the same drawing: hue turned, and now and then grey, negative or of other contrast."""
    colours = rgba[..., :3].astype(np.float32) / 255
    light = colours @ LUMA
    chroma = colours - light[..., None]
    if rng.random() < 0.15:
        light = 1 - light
    light = 0.5 + (light - 0.5) * rng.uniform(0.5, 1.2) + rng.uniform(-0.2, 0.2)
    saturation = 0.0 if rng.random() < 0.25 else rng.uniform(0.3, 1.4)
    turned = chroma @ _hue_matrix(float(rng.uniform(-np.pi, np.pi))).T * saturation
    return _with_colours(rgba, light[..., None] + turned)


def nudge_colours(rgba: Pixels, rng: np.random.Generator) -> Pixels:
    """A colouring near the drawing's own, as another hand might choose it: hue turned by up to half a radian, a little
    more or less contrast, light and saturation."""
    colours = rgba[..., :3].astype(np.float32) / 255
    light = colours @ LUMA
    chroma = colours - light[..., None]
    light = 0.5 + (light - 0.5) * rng.uniform(0.8, 1.15) + rng.uniform(-0.08, 0.08)
    turned = chroma @ _hue_matrix(float(rng.uniform(-0.5, 0.5))).T * rng.uniform(0.7, 1.2)
    return _with_colours(rgba, light[..., None] + turned)


def _hue_matrix(angle: float) -> Floats:
    """float32 (3, 3): turns a chroma vector (luminance taken out) about the grey axis (1, 1, 1)."""
    cosine, sine = np.cos(angle), np.sin(angle) / np.sqrt(3)
    third = (1 - cosine) / 3
    row = [cosine + third, third - sine, third + sine]
    return np.array([row, [row[2], row[0], row[1]], [row[1], row[2], row[0]]], dtype=np.float32)


def _with_colours(rgba: Pixels, colours: Floats) -> Pixels:
    """The same transparency with other colours in [0, 1]."""
    painted = (np.clip(colours, 0, 1) * 255 + 0.5).astype(np.uint8)
    return np.concatenate([painted, rgba[..., 3:]], axis=-1)
