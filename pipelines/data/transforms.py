"""From a triplet's images to the tensors of one sample. Random choices are drawn by position, so they can be repeated.

Sizes are (height, width) in px wherever tensors are near, and PIL's (width, height) only where an image is asked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from curate.images import to_unit_range
from curate.interfaces import Role
from curate.seeds import uniform
from pipelines.data.config import GRID_PX, DataConfig, RolesConfig
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
    content: Size | None


class Pictures(NamedTuple):
    """What a training sees of a triplet's images, before they are tensors: PIL RGB of the sizes in ``Shapes``."""

    target: Image.Image
    content: Image.Image | None
    style: Image.Image | None


class Sample(NamedTuple):
    """float32 in [-1, 1]: target (3, H, W), content (3, h, w), style (3, style_px, style_px)."""

    target: Tensor
    content: Tensor | None
    style: Tensor | None


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


def squeeze(image: Image.Image, side_px: int) -> Image.Image:
    """The whole image as a square, as SigLIP's processor makes one of a style reference."""
    return image.resize((side_px, side_px), Image.Resampling.LANCZOS)


def to_model(image: Image.Image) -> Tensor:
    """float32 (3, H, W) in [-1, 1]."""
    return torch.from_numpy(to_unit_range([image])[0])


def shaping(roles: RolesConfig) -> tuple[Role, ...]:
    """The members whose sizes decide the shapes: that of the target and, if there is one, of the content."""
    return (roles.target,) if roles.content is None else (roles.target, roles.content)


def shapes_of(sizes: Sequence[tuple[int, int]], config: DataConfig) -> Shapes:
    """Shapes of a sample, from the (width, height) of its ``shaping`` members alone."""
    target, *contents = sizes
    return Shapes(_target_size(target, config), _content_size(target, contents[0], config) if contents else None)


def _target_size(target: tuple[int, int], config: DataConfig) -> Size:
    return bucket_of(*target, config.size_px) if config.buckets else Size(config.size_px, config.size_px)


def _content_size(target: tuple[int, int], content: tuple[int, int], config: DataConfig) -> Size:
    if config.content_size_px is None:
        return _target_size(target, config)
    side = config.content_size_px // GRID_PX * GRID_PX
    return content_size(*content, config.content_size_px) if config.buckets else Size(side, side)


def prepare(triplet: Triplet, config: DataConfig, *, seed: int) -> Sample:
    """The tensors of a sample: its ``cut_pictures``."""
    target, content, style = cut_pictures(triplet, config, seed=seed)
    others = (None if image is None else to_model(image) for image in (content, style))
    return Sample(to_model(target), *others)


def cut_pictures(triplet: Triplet, config: DataConfig, *, seed: int) -> Pictures:
    """The images of a sample, cut and resized.

    Target and content are cut at the same place, or a layout-preserved pair would lose its alignment; with buckets and
    ``content_size_px`` the content keeps its own aspect ratio, as in USO's inference. The style reference is whole,
    squeezed into a square, as it is in use.
    """
    roles = config.roles
    target = triplet.member(roles.target)
    content, style = (None if role is None else triplet.member(role) for role in (roles.content, roles.style))
    shapes = shapes_of([triplet.member(role).size for role in shaping(roles)], config)
    at = _crop_place(config, seed, triplet.position)
    if content is not None and config.buckets and config.content_size_px is not None:
        content = content_reference(content, config.content_size_px)
    elif content is not None and shapes.content is not None:
        content = crop_resize(content, shapes.content, at=at)
    if style is not None:
        style = squeeze(style, config.style_px)
    return Pictures(crop_resize(target, shapes.target, at=at), content, style)


def _crop_place(config: DataConfig, seed: int, position: int) -> tuple[float, float]:
    if config.crop == "centre":
        return CENTRE
    return uniform("crop x", "layout", seed, position), uniform("crop y", "layout", seed, position)


def _long_side(width: int, height: int, size_px: int) -> Size:
    scale = size_px / max(width, height)
    return Size(max(GRID_PX, int(scale * height)) if height < width else size_px,
                max(GRID_PX, int(scale * width)) if width < height else size_px)


def _on_grid(side: float) -> int:
    return max(1, round(side / GRID_PX)) * GRID_PX
