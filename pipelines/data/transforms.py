"""From a triplet's images to the tensors of one sample. Random choices are drawn by position, so they can be repeated.

Sizes are (height, width) in px wherever tensors are near, and PIL's (width, height) only where an image is asked.
"""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from curate.images import to_unit_range
from curate.seeds import uniform
from pipelines.data.config import GRID_PX, DataConfig
from pipelines.data.triplets import Triplet

CENTRE = (0.5, 0.5)
_ASPECTS = (1 / 2, 9 / 16, 2 / 3, 3 / 4, 4 / 5, 1.0, 5 / 4, 4 / 3, 3 / 2, 16 / 9, 2.0)
"""height / width of the buckets: our choice, the usual formats of photos and screens (USO's are undisclosed)."""


class Size(NamedTuple):
    """px."""

    height: int
    width: int


class Shapes(NamedTuple):
    """What a sample's tensors measure; only samples of equal shapes can share a batch."""

    target: Size
    content: Size


class Pictures(NamedTuple):
    """What a training sees of a triplet's images, before they are tensors: PIL RGB of the sizes in ``Shapes``."""

    target: Image.Image
    content: Image.Image
    style: Image.Image


class Sample(NamedTuple):
    """float32 in [-1, 1]: target (3, H, W), content (3, h, w), style (3, style_px, style_px)."""

    target: Tensor
    content: Tensor
    style: Tensor


@cache
def buckets_for(size_px: int) -> tuple[Size, ...]:
    """Sizes with about size_px ** 2 px, sides multiples of 16, the flattest first."""
    sizes = (Size(_on_grid(size_px * math.sqrt(aspect)), _on_grid(size_px / math.sqrt(aspect))) for aspect in _ASPECTS)
    return tuple(dict.fromkeys(sizes))


def bucket_of(width: int, height: int, size_px: int) -> Size:
    """The bucket whose aspect ratio is nearest to the image's (by the ratio of ratios)."""
    return min(buckets_for(size_px), key=lambda size: abs(math.log(size.height / size.width * width / height)))


def content_size(width: int, height: int, size_px: int) -> Size:
    """Size of the content reference of an image: see ``content_reference``."""
    scaled = _long_side(width, height, size_px)
    return Size(scaled.height // GRID_PX * GRID_PX, scaled.width // GRID_PX * GRID_PX)


def content_reference(image: Image.Image, size_px: int) -> Image.Image:
    """Long side resized to ``size_px``, then both sides cut evenly to multiples of 16.

    As preprocess_ref of bytedance/USO@b6784d7 does, but that no side becomes less than 16.
    """
    scaled = _long_side(image.width, image.height, size_px)
    height, width = content_size(image.width, image.height, size_px)
    left, top = (scaled.width - width) // 2, (scaled.height - height) // 2
    resized = image.resize((scaled.width, scaled.height), Image.Resampling.LANCZOS)
    return resized.crop((left, top, left + width, top + height))


def crop_resize(image: Image.Image, size: Size, *, at: tuple[float, float] = CENTRE) -> Image.Image:
    """The largest part of that aspect ratio, resampled by Lanczos to ``size``.

    ``at``: where the part lies in the room there is, 0 = left or top, 1 = right or bottom.
    """
    scale = min(image.width / size.width, image.height / size.height)
    # 112 * (29 / 112) is a hair more than 29, and Pillow refuses a box that leaves the image
    width, height = min(size.width * scale, image.width), min(size.height * scale, image.height)
    left, top = (image.width - width) * at[0], (image.height - height) * at[1]
    box = (left, top, left + width, top + height)
    return image.resize((size.width, size.height), Image.Resampling.LANCZOS, box=box)


def to_model(image: Image.Image) -> Tensor:
    """float32 (3, H, W) in [-1, 1]."""
    return torch.from_numpy(to_unit_range([image])[0])


def shapes_of(stylized: tuple[int, int], content: tuple[int, int], config: DataConfig) -> Shapes:
    """Shapes of a sample, from its images' (width, height) alone."""
    if not config.buckets:
        side = config.size_px if config.content_size_px is None else config.content_size_px // GRID_PX * GRID_PX
        return Shapes(Size(config.size_px, config.size_px), Size(side, side))
    target = bucket_of(*stylized, config.size_px)
    return Shapes(target, target if config.content_size_px is None else content_size(*content, config.content_size_px))


def prepare(triplet: Triplet, config: DataConfig, *, seed: int) -> Sample:
    """The tensors of a sample: its ``cut_pictures``."""
    return Sample(*map(to_model, cut_pictures(triplet, config, seed=seed)))


def cut_pictures(triplet: Triplet, config: DataConfig, *, seed: int) -> Pictures:
    """The images of a sample, cut and resized.

    Target and content are cut at the same place, or a layout-preserved pair would lose its alignment; with buckets and
    ``content_size_px`` the content keeps its own aspect ratio, as in USO's inference. The style reference is a square.
    """
    shapes = shapes_of(triplet.stylized.size, triplet.content.size, config)
    at = _crop_place(config, seed, triplet.position, "layout")
    if config.buckets and config.content_size_px is not None:
        content = content_reference(triplet.content, config.content_size_px)
    else:
        content = crop_resize(triplet.content, shapes.content, at=at)
    square = Size(config.style_px, config.style_px)
    style = crop_resize(triplet.style, square, at=_crop_place(config, seed, triplet.position, "style"))
    return Pictures(crop_resize(triplet.stylized, shapes.target, at=at), content, style)


def _crop_place(config: DataConfig, seed: int, position: int, what: str) -> tuple[float, float]:
    if config.crop == "centre":
        return CENTRE
    return uniform("crop x", what, seed, position), uniform("crop y", what, seed, position)


def _long_side(width: int, height: int, size_px: int) -> Size:
    scale = size_px / max(width, height)
    return Size(max(GRID_PX, int(scale * height)) if height < width else size_px,
                max(GRID_PX, int(scale * width)) if width < height else size_px)


def _on_grid(side: float) -> int:
    return max(1, round(side / GRID_PX)) * GRID_PX
