"""Labels of drawn triplets: the share of good ones, equally frequent faults, and the same drawing every time."""

from __future__ import annotations

from collections import Counter

import numpy as np

from curate.steer.labels import FAULTS
from curate.zoo.truth_labels import FAULT_LABELS, draw_labelled
from tests.toy_emoji import toy_emoji

DATA = toy_emoji(100)
COUNT = 120


def test_the_share_is_as_asked_and_every_fault_is_one_of_the_label_page() -> None:
    drawn = draw_labelled(DATA, count=COUNT, seed=0, good_share=0.5)
    good = [one for one in drawn if one.good]
    assert len(drawn) == COUNT and abs(len(good) / COUNT - 0.5) < 0.15
    assert {one.fault for one in good} == {""}
    bad = Counter(one.fault for one in drawn if not one.good)
    assert set(bad) == set(FAULT_LABELS.values()) == set(FAULTS)
    assert max(bad, key=bad.__getitem__) == "style"  # two of the six faults are called so
    for layouts in ({one.triplet.layout for one in side} for side in (good, [one for one in drawn if not one.good])):
        assert layouts == {"preserved", "shifted"}  # so the layout does not give the truth away
    assert sum(one.good for one in draw_labelled(DATA, count=40, seed=0, good_share=0.9)) > 30


def test_the_same_arguments_draw_the_same_and_others_do_not() -> None:
    first, again, other = (draw_labelled(DATA, count=12, seed=seed) for seed in (3, 3, 4))
    assert [one[1:] for one in first] == [one[1:] for one in again]
    for one, two in zip(first, again, strict=True):
        assert all(np.array_equal(np.asarray(getattr(one.triplet, role)), np.asarray(getattr(two.triplet, role)))
                   for role in ("content", "style", "stylized"))
    assert not all(np.array_equal(np.asarray(one.triplet.stylized), np.asarray(two.triplet.stylized))
                   for one, two in zip(first, other, strict=True))
