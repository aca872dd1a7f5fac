"""What every painter needs: float canvases, colours, blurs and patterns anchored at the image's origin.

Canvases are float32 in [0, 1]. Lengths in styles are in 64ths of the image's height ("units"), so that a style
looks the same at any resolution.
"""

from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Canvas: TypeAlias = NDArray[np.floating[Any]]  # float32 throughout
Colour: TypeAlias = tuple[float, ...]

LUMA: Final = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601
WHITE: Final[Colour] = (1.0, 1.0, 1.0)


def as_colour(value: Colour) -> Canvas:
    """float32 (3,)."""
    return np.asarray(value, dtype=np.float32)


def unit_px(canvas: Canvas) -> float:
    """Pixels in one unit (1/64 of the height)."""
    return float(canvas.shape[0] / 64)


def over_paper(rgba: Canvas, paper: Canvas) -> Canvas:
    """(H, W, 4) over paper, (3,) or (H, W, 3): (H, W, 3)."""
    alpha = rgba[..., 3:]
    laid: Canvas = rgba[..., :3] * alpha + paper * (1 - alpha)
    return laid


def luminance(rgb: Canvas) -> Canvas:
    """(H, W, 3) -> (H, W, 1)."""
    light: Canvas = (rgb @ LUMA)[..., None]
    return light


def mix(first: Canvas, second: Canvas, amount: Canvas | float) -> Canvas:
    """`first` where amount is 0, `second` where it is 1."""
    mixed: Canvas = first + (second - first) * amount
    return mixed


def blur(plane: Canvas, radius_px: float) -> Canvas:
    """Gaussian blur of one plane, (H, W) -> (H, W). Eight bits inside: enough for masks and halos."""
    image = Image.fromarray((plane * 255 + 0.5).astype(np.uint8))
    blurred: Canvas = np.asarray(image.filter(ImageFilter.GaussianBlur(radius_px)), dtype=np.float32) / 255
    return blurred


def grow(alpha: Canvas, radius_px: float) -> Canvas:
    """Dilate a mask by about `radius_px`, with a soft rim: (H, W) -> (H, W)."""
    return np.clip(blur(alpha, radius_px) * 6, 0, 1)


def edges(rgba: Canvas) -> Canvas:
    """Contours between colours and at the silhouette, (H, W, 4) -> (H, W) in [0, 1]; its width grows with
    resolution."""
    step = max(1, round(unit_px(rgba)))
    premultiplied = rgba * rgba[..., 3:]
    padded = np.pad(premultiplied, ((step, 0), (step, 0), (0, 0)), mode="edge")
    across = np.abs(padded[step:, step:] - padded[step:, :-step]).max(-1)
    down = np.abs(padded[step:, step:] - padded[:-step, step:]).max(-1)
    contours: Canvas = np.clip(np.maximum(across, down) * 2.5 - 0.25, 0, 1)
    return contours


def grid(canvas: Canvas) -> tuple[Canvas, Canvas]:
    """Row and column of every pixel's centre in units: two (H, W) planes, a function of the resolution alone."""
    unit = unit_px(canvas)
    rows = (np.arange(canvas.shape[0], dtype=np.float32) + 0.5) / unit
    columns = (np.arange(canvas.shape[1], dtype=np.float32) + 0.5) / unit
    return np.meshgrid(rows, columns, indexing="ij")


def shifted(canvas: Canvas, down_px: int, right_px: int) -> Canvas:
    """Move (H, W, C) by whole pixels, repeating the border."""
    height, width = canvas.shape[:2]
    rows = np.clip(np.arange(height) - down_px, 0, height - 1)
    columns = np.clip(np.arange(width) - right_px, 0, width - 1)
    moved: Canvas = canvas[rows][:, columns]
    return moved


def noise(canvas: Canvas, *, cell_units: float, seed: int) -> Canvas:
    """A fixed field of smooth noise, (H, W) in [0, 1], whose grains are `cell_units` wide. The same at any
    call and subject."""
    height, width = canvas.shape[:2]
    cells_down = max(2, round(64 / cell_units))
    cells_across = max(2, round(64 / cell_units * width / height))
    field = np.random.default_rng(seed).random((cells_down, cells_across), dtype=np.float32)
    grown = Image.fromarray(field).resize((width, height), Image.Resampling.BILINEAR)
    spread: Canvas = np.asarray(grown, dtype=np.float32)
    return spread
