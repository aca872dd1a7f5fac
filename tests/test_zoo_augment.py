"""Augmentations of the scorers' trainings: what they change, and what they must leave alone."""

from __future__ import annotations

import numpy as np

from curate.zoo.augment import SHIFT_PX, move, nudge_colours, recolour, soften, throw


def square() -> np.ndarray:
    """A red square of 20 px in the middle, transparent around it."""
    rgba = np.zeros((64, 64, 4), dtype=np.uint8)
    rgba[22:42, 22:42] = (200, 40, 30, 255)
    return rgba


def centre(rgba: np.ndarray) -> np.ndarray:
    return np.argwhere(rgba[..., 3] > 127).mean(axis=0) + 0.5


def test_moving_and_throwing_keep_colours_and_stay_within_their_reach() -> None:
    for moved_by in (move, throw):
        rng = np.random.default_rng(0)
        sizes = []
        for _ in range(60):
            moved = moved_by(square(), rng)
            inside = moved[moved[..., 3] > 250][:, :3].astype(int)
            assert np.abs(inside - (200, 40, 30)).max() <= 3  # premultiplied rounding
            assert np.abs(centre(moved) - 32).max() <= SHIFT_PX + 1
            sizes.append(int((moved[..., 3] > 127).sum()))
        assert min(sizes) < 400 * 0.8**2 * 1.05 and max(sizes) > 400


def test_throwing_turns_about_the_middle_of_the_drawing() -> None:
    rng = np.random.default_rng(3)
    corners = [throw(square(), rng)[22:42, 22:42, 3].min() for _ in range(20)]
    assert 0 in corners  # a turned or moved square leaves a corner of its place empty


def test_recolouring_changes_hues_and_light_but_neither_shape_nor_its_edges() -> None:
    rng, base = np.random.default_rng(0), square()
    base[30:34, 22:42, :3] = (250, 220, 60)
    hues = set()
    for _ in range(30):
        changed = recolour(base, rng)
        assert np.array_equal(changed[..., 3], base[..., 3])
        bar, body = changed[31, 30, :3].astype(int), changed[24, 30, :3].astype(int)
        assert np.abs(bar - body).max() > 10  # the bar can still be told from the body
        hues.add(int(body.argmax()))
    assert hues == {0, 1, 2}


def test_nudged_colours_stay_near_and_are_others() -> None:
    base = square()
    before = base[32, 32, :3].astype(int)
    moved = []
    for seed in range(30):
        changed = nudge_colours(base, np.random.default_rng(seed))
        assert np.array_equal(changed[..., 3], base[..., 3])
        after = changed[32, 32, :3].astype(int)
        moved.append(int(np.abs(after - before).max()))
        assert after.argmax() == before.argmax()
    assert min(moved) > 0
    assert np.median(moved) > 10
    assert max(moved) < 110


def test_softening_happens_sometimes_and_blurs_edges_only_a_little() -> None:
    rng = np.random.default_rng(0)
    sharp = square()[..., :3]
    softened = [soften(sharp, rng) for _ in range(100)]
    changed = [each for each in softened if not np.array_equal(each, sharp)]
    assert 10 < len(changed) < 45
    assert all(np.array_equal(each[30:34, 30:34], sharp[30:34, 30:34]) for each in changed)
