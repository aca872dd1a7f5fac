"""Intervals over subjects: they cover, repeat, and widen where the images of a subject are alike."""

from __future__ import annotations

import numpy as np
import pytest

from curate.bench.bootstrap import are_crossed, bootstrap, bootstrap_difference


def clustered(rng: np.random.Generator, subjects: int, each: int, spread: float) -> tuple[np.ndarray, list[str]]:
    centres = rng.normal(0.5, spread, subjects)
    values = np.repeat(centres, each) + rng.normal(0, 0.01, subjects * each)
    return values, [f"s{at}" for at in range(subjects) for _ in range(each)]


def test_the_interval_covers_the_true_mean_about_95_times_in_100() -> None:
    covered = 0
    for trial in range(200):
        values, subjects = clustered(np.random.default_rng(trial), subjects=40, each=5, spread=0.1)
        found = bootstrap(values, subjects, seed=trial, resamples=400)
        assert found is not None and found.low is not None and found.high is not None
        covered += found.low <= 0.5 <= found.high
    assert 0.89 <= covered / 200 <= 0.99


def crossed(rng: np.random.Generator, count: int) -> tuple[np.ndarray, list[str], list[str]]:
    """Every subject in every style; subjects differ little, styles much."""
    subjects, styles = rng.normal(0.5, 0.02, count), rng.normal(0, 0.1, count)
    values = subjects[:, None] + styles[None, :] + rng.normal(0, 0.1, (count, count))
    names = [str(at) for at in range(count)]
    return values.ravel(), [name for name in names for _ in names], names * count


def test_where_all_subjects_meet_the_same_styles_these_are_drawn_too() -> None:
    alone = both = 0
    for trial in range(100):
        values, subjects, styles = crossed(np.random.default_rng(trial), 20)
        one = bootstrap(values, subjects, seed=trial, resamples=400)
        two = bootstrap(values, subjects, styles=styles, seed=trial, resamples=400)
        assert one is not None and two is not None and one.num_styles is None and two.num_styles == 20
        assert one.value == pytest.approx(two.value)
        alone += one.low <= 0.5 <= one.high  # type: ignore[operator]
        both += two.low <= 0.5 <= two.high  # type: ignore[operator]
    assert both >= 88 and alone < 60


def test_styles_are_drawn_where_they_come_back_with_other_subjects() -> None:
    _, subjects, styles = crossed(np.random.default_rng(0), 4)
    assert are_crossed(subjects, styles)
    assert not are_crossed(subjects, [str(at) for at in range(16)]), "a style for every image"
    assert not are_crossed(styles, styles), "the subject of a style item is its style"
    assert not are_crossed(subjects, ["ink"] * 16), "there is nothing to draw"


def test_it_is_over_subjects_not_images() -> None:
    values, subjects = clustered(np.random.default_rng(0), subjects=20, each=50, spread=0.1)
    over_subjects = bootstrap(values, subjects, seed=0)
    over_images = bootstrap(values, [str(at) for at in range(len(values))], seed=0)
    assert over_subjects is not None and over_images is not None
    assert over_subjects.value == pytest.approx(over_images.value)
    wide, narrow = (each.high - each.low for each in (over_subjects, over_images))  # type: ignore[operator]
    assert wide > 4 * narrow
    assert (over_subjects.num_subjects, over_subjects.num_images) == (20, 1000)


def test_it_is_seeded() -> None:
    values, subjects = clustered(np.random.default_rng(0), 10, 2, 0.1)
    assert bootstrap(values, subjects, seed=1) == bootstrap(values, subjects, seed=1)
    assert bootstrap(values, subjects, seed=1) != bootstrap(values, subjects, seed=2)


def test_numbers_that_are_missing_are_left_out() -> None:
    values = np.array([0.2, np.nan, 0.4, np.nan])
    found = bootstrap(values, ["a", "a", "b", "c"], seed=0)
    assert found is not None and found.value == pytest.approx(0.3) and found.num_subjects == 2
    assert bootstrap(np.full(2, np.nan), ["a", "b"], seed=0) is None


def test_one_subject_has_no_interval() -> None:
    found = bootstrap(np.array([0.2, 0.4]), ["a", "a"], seed=0)
    assert found is not None and found.value == pytest.approx(0.3) and (found.low, found.high) == (None, None)
    assert not found.above_zero and not found.below_zero


def test_pairs_see_a_difference_that_two_intervals_hide() -> None:
    rng = np.random.default_rng(0)
    hard = rng.normal(0.5, 0.2, 30)
    first, second = hard + 0.02 + rng.normal(0, 0.01, 30), hard
    subjects = [f"s{at}" for at in range(30)]
    one, two = (bootstrap(values, subjects, seed=0) for values in (first, second))
    assert one is not None and two is not None and one.low < two.high  # type: ignore[operator]
    pair = bootstrap_difference(first, second, subjects, seed=0)
    assert pair is not None and pair.above_zero and pair.value == pytest.approx(0.02, abs=0.01)
    swapped = bootstrap_difference(second, first, subjects, seed=0)
    assert swapped is not None and swapped.below_zero


def test_pairs_use_only_items_that_both_have() -> None:
    pair = bootstrap_difference(np.array([1.0, 1.0, np.nan]), np.array([0.0, np.nan, 0.0]), ["a", "b", "c"], seed=0)
    assert pair is not None and pair.num_images == 1
