"""What a triplet becomes before a model sees it: sizes, crops, buckets, content references."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from pipelines.data import Triplet
from pipelines.data.transforms import (
    Size,
    bucket_of,
    buckets_for,
    content_reference,
    content_size,
    crop_resize,
    prepare,
    to_model,
)
from tests.test_train_data import config_of, picture


def test_buckets_are_near_the_area_and_on_the_grid() -> None:
    for size_px in (64, 512, 1024):
        buckets = buckets_for(size_px)
        assert Size(size_px, size_px) in buckets and len(set(buckets)) == len(buckets) >= 5
        assert all(h % 16 == w % 16 == 0 for h, w in buckets)
        assert all(0.85 < h * w / size_px**2 < 1.2 for h, w in buckets)
        assert all(Size(w, h) in buckets for h, w in buckets)
    assert bucket_of(1920, 1080, 1024) == (768, 1360) and bucket_of(1080, 1920, 1024) == (1360, 768)
    assert bucket_of(500, 510, 1024) == (1024, 1024)
    assert bucket_of(9000, 100, 1024) == max(buckets_for(1024), key=lambda size: size.width)


@pytest.mark.parametrize(("size", "expected"), [
    ((1024, 1024), (512, 512)), ((1024, 700), (336, 512)), ((700, 1024), (512, 336)), ((100, 37), (176, 512)),
    ((5000, 10), (16, 512)),
])
def test_content_reference_is_made_as_in_uso(size: tuple[int, int], expected: tuple[int, int]) -> None:
    image = picture(size, 0)
    made = content_reference(image, 512)
    assert (made.height, made.width) == expected == content_size(*size, 512)
    if min(size) > 100:  # cut evenly
        first, last = made.getpixel((0, 0)), made.getpixel((made.width - 1, made.height - 1))
        assert all(abs(first[i] + last[i] - 255) <= 3 for i in (0, 1))


def test_content_reference_off_the_grid() -> None:
    assert content_size(1000, 1000, 500) == (496, 496)


def test_crop_resize_takes_the_largest_part() -> None:
    wide = picture((64, 32), 0)
    square = Size(32, 32)
    assert crop_resize(picture((32, 32), 5), square).tobytes() == picture((32, 32), 5).tobytes()
    for at, box in (((0.0, 0.5), (0, 0, 32, 32)), ((0.5, 0.5), (16, 0, 48, 32)), ((1.0, 0.5), (32, 0, 64, 32))):
        assert crop_resize(wide, square, at=at).tobytes() == wide.crop(box).tobytes()
    tall = picture((30, 90), 0)
    assert crop_resize(tall, square, at=(0.0, 1.0)).size == (32, 32)
    for size in ((7, 13), (333, 101), (1001, 999), (29, 58)):  # rounding never leaves the image
        for at in ((0.0, 0.0), (1.0, 1.0), (0.3, 0.7), (0.5, 0.5)):
            assert crop_resize(picture(size, 0), Size(48, 112), at=at).size == (112, 48)


def test_to_model_has_the_range_of_the_models() -> None:
    pixels = np.zeros((2, 3, 3), dtype=np.uint8)
    pixels[0, 1] = (0, 128, 255)
    tensor = to_model(Image.fromarray(pixels))
    assert tensor.shape == (3, 2, 3) and tensor.dtype == torch.float32
    assert tensor[:, 0, 1].tolist() == pytest.approx([-1.0, 128 / 127.5 - 1, 1.0], abs=1e-6)


def triplet_of(size: tuple[int, int], position: int) -> Triplet:
    image = picture(size, 0)
    return Triplet("k", image, image, image, "", "preserved", "d", position)


def test_random_crops_cut_target_and_content_alike_and_by_position() -> None:
    config = config_of("x", size_px=32, crop="random", style_px=32)
    lefts = set()
    for position in range(20):
        sample = prepare(triplet_of((96, 32), position), config, seed=4)
        assert torch.equal(sample.target, sample.content)
        assert torch.equal(sample.target, prepare(triplet_of((96, 32), position), config, seed=4).target)
        lefts.add(round(float(sample.target[0, 0, 0]), 2))
        assert not torch.equal(sample.target, sample.style)
    assert len(lefts) > 15
    centred = prepare(triplet_of((96, 32), 0), config.model_copy(update={"crop": "centre"}), seed=4)
    assert float(centred.target[0].mean()) == pytest.approx(0.0, abs=0.01)


def test_a_style_reference_is_seen_whole_as_it_is_in_use() -> None:
    left, right = Image.new("RGB", (32, 32), "red"), Image.new("RGB", (32, 32), "blue")
    wide = Image.new("RGB", (96, 32), "lime")
    wide.paste(left, (0, 0))
    wide.paste(right, (64, 0))
    square = picture((32, 32), 0)
    for crop in ("centre", "random"):
        config = config_of("x", size_px=32, crop=crop, style_px=24)
        style = prepare(Triplet("k", square, wide, square, "", "preserved", "d", 0), config, seed=4).style
        assert style is not None
        assert [int(style[:, 12, place].argmax()) for place in (2, 12, 21)] == [0, 1, 2]


@pytest.mark.parametrize(("buckets", "content_size_px", "target", "content"), [
    (False, None, (64, 64), (64, 64)), (False, 40, (64, 64), (32, 32)),
    (True, None, (48, 96), (48, 96)), (True, 64, (48, 96), (32, 64)),
])
def test_shapes_of_a_sample(buckets: bool, content_size_px: int | None, target: tuple[int, int],
                            content: tuple[int, int]) -> None:
    config = config_of("x", size_px=64, buckets=buckets, content_size_px=content_size_px, style_px=24)
    sample = prepare(triplet_of((100, 50), 0), config, seed=1)
    assert (sample.target.shape[1:], sample.content.shape[1:], sample.style.shape) == (target, content, (3, 24, 24))
