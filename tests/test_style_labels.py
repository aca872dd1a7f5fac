"""Labels of training references: every style fits into the slots, and equal styles have equal labels."""

from __future__ import annotations

import numpy as np
import pytest

from curate.parametric import ACCENTS, FAMILIES, Style, sample_style
from curate.zoo.style_labels import AS_DRAWN, NO_ACCENT, NUM_VALUES, label, num_choices, slots_of


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_fills_its_slots_within_bounds(family: str) -> None:
    rng = np.random.default_rng(5)
    values = np.stack([slots_of(sample_style(rng, family)) for _ in range(60)])
    assert values.shape == (60, NUM_VALUES)
    own = np.isnan(values[:, :14])
    assert (own == own[0]).all()
    assert np.nanmax(np.abs(values)) <= 1.06  # ranges are read from 256 draws, so another draw may lie a little outside
    assert (np.nan_to_num(values[:, :14]).std(axis=0) > 0.05).sum() >= 3  # at least the paper's colour moves


def test_colours_come_first_and_the_background_before_all() -> None:
    style = Style("duotone", {"ink": (0.0, 0.25, 0.5), "paper": (1.0, 0.75, 0.0), "chroma": 0.2})
    assert slots_of(style)[:6].tolist() == pytest.approx([1, 0.5, -1, -1, -0.5, 0])
    assert np.isnan(slots_of(style)[6:9]).all()


def test_an_angle_is_a_point_on_a_circle_so_that_its_ends_meet() -> None:
    def hatch(angle: float) -> np.ndarray:
        ink = (0.1, 0.1, 0.1)
        return slots_of(Style("hatch", {"paper": (1, 1, 1), "ink": ink, "pitch": 4.0, "angle": angle, "amount": 0.7}))

    assert np.nanmax(np.abs(hatch(0.0) - hatch(3.14))) < 0.1
    assert np.nanmax(np.abs(hatch(0.0) - hatch(1.57))) > 1.5


def test_labels_name_set_family_and_accent() -> None:
    grain = sample_style(np.random.default_rng(0), "grain")
    wash = Style("wash", {"paper": (1, 1, 1), "tint": (0, 0, 1), "amount": 0.5}, Style("grain", grain.params))
    labels = label([wash, None], [2, 5], [True, False])
    assert labels.choices.tolist() == [
        [2, FAMILIES.index("wash"), ACCENTS.index("grain")],
        [5, AS_DRAWN, NO_ACCENT],
    ]
    assert labels.known.tolist() == [True, False]
    assert labels.values[1].tolist() == [1, 1, 1] + [0] * (NUM_VALUES - 3)
    assert labels.used[1].tolist() == [True] * 3 + [False] * (NUM_VALUES - 3)
    assert labels.used[0].sum() == (2 * 3 + 1) + (2 * 3 + 3)  # paper, tint, amount; paper, ink, amount, cell, seed
    assert (labels.choices < np.array(num_choices(9))).all()
