"""Parametric styles: deterministic, alike for all subjects, recognisable, and all different."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from curate.parametric import ACCENTS, FAMILIES, PRESETS, Style, apply_style, plain, sample_style
from tests.toy_emoji import toy_emoji

DATA = toy_emoji(4)
SUBJECT = DATA.images[0]
OTHER = DATA.images[DATA.rows[2, 2]]


def sampled(family: str, number: int = 0) -> Style:
    return sample_style(np.random.default_rng([1, number]), family)


def test_there_are_enough_families_and_presets() -> None:
    assert len(FAMILIES) >= 12
    assert len(PRESETS) >= 26
    assert set(ACCENTS) <= set(FAMILIES)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_style_is_deterministic_and_leaves_its_input_alone(family: str) -> None:
    before = SUBJECT.copy()
    first, second = (apply_style(sampled(family), SUBJECT) for _ in range(2))
    assert first.shape == (64, 64, 3)
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(before, SUBJECT)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_style_changes_the_picture_but_keeps_the_subject(family: str) -> None:
    for number in range(4):
        styled = apply_style(sampled(family, number), SUBJECT).astype(float)
        assert np.abs(styled - plain(SUBJECT)).mean() > 2
        inside, outside = SUBJECT[..., 3] > 0, SUBJECT[..., 3] == 0
        contrast = np.abs(styled[inside].mean(0) - styled[outside].mean(0)).max()
        spread = np.abs(styled[inside].std(0) - styled[outside].std(0)).max()
        assert max(contrast, spread) > 4


@pytest.mark.parametrize("family", FAMILIES)
def test_json_round_trip_gives_the_same_picture(family: str) -> None:
    style = next(style for style in (sampled(family, n) for n in range(50)) if style.accent is not None)
    again = Style.from_json(style.to_json())
    assert again == style
    assert again.to_json() == style.to_json()
    np.testing.assert_array_equal(apply_style(again, SUBJECT), apply_style(style, SUBJECT))


@pytest.mark.parametrize("family", ["paper", "checker", "scanline", "grain", "halftone", "frame"])
def test_the_ground_does_not_depend_on_the_subject(family: str) -> None:
    style = sampled(family)
    empty = (SUBJECT[..., 3] == 0) & (OTHER[..., 3] == 0)
    np.testing.assert_array_equal(apply_style(style, SUBJECT)[empty], apply_style(style, OTHER)[empty])


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - {"pixel", "misprint", "stained", "blueprint", "emboss"}))
def test_a_style_looks_the_same_at_twice_the_size(family: str) -> None:
    large = np.asarray(Image.fromarray(SUBJECT).resize((128, 128), Image.Resampling.NEAREST))
    small = np.asarray(Image.fromarray(apply_style(sampled(family), large)).resize((64, 64), Image.Resampling.BOX))
    assert np.abs(small.astype(float) - apply_style(sampled(family), SUBJECT)).mean() < 8


def test_presets_are_visibly_different_from_one_another() -> None:
    pictures = np.stack([apply_style(style, SUBJECT) for style in PRESETS.values()]).astype(float)
    apart = np.abs(pictures[:, None] - pictures[None]).mean((2, 3, 4)) + 1000 * np.eye(len(pictures))
    assert apart.min() > 6


def test_sampling_is_a_function_of_the_generator() -> None:
    one, two = ([sample_style(np.random.default_rng(3)) for _ in range(2)] for _ in range(2))
    assert one == two
    drawn = {sample_style(np.random.default_rng([4, n])).family for n in range(400)}
    assert drawn == set(FAMILIES)


def test_plain_is_the_drawing_over_white() -> None:
    picture = plain(SUBJECT)
    assert (picture[SUBJECT[..., 3] == 0] == 255).all()
    np.testing.assert_array_equal(picture[SUBJECT[..., 3] == 255], SUBJECT[SUBJECT[..., 3] == 255][:, :3])


def test_an_unknown_family_or_a_wrong_array_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown style family 'cubism'"):
        Style(family="cubism", params={})
    with pytest.raises(ValueError, match="unknown style family 'cubism'"):
        sample_style(np.random.default_rng(0), "cubism")
    with pytest.raises(ValueError, match=r"expected uint8 \(H, W, 4\)"):
        apply_style(PRESETS["sepia"], SUBJECT[..., :3])
