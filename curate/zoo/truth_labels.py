"""Emoji ground truth as labels: a mixture of good and spoilt triplets whose label is known because it was drawn so."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from curate.interfaces import TripletImages
from curate.zoo.data import EmojiData
from curate.zoo.triplet_truth import Fault, draw_unit, ink_unit

FAULT_LABELS: Final[dict[Fault, str]] = {
    "other_subject": "subject",
    "other_style": "style",
    "colour_only": "style",
    "residue": "residue",
    "leak": "leak",
    "copy_paste": "artefact",
}
"""Fault -> what a person would say on the label page. A wrong caption is left out: no picture shows it."""


class LabelledTriplet(NamedTuple):
    """A triplet and the truth about it."""

    triplet: TripletImages
    good: bool
    fault: str
    """As on the label page; empty for a good one."""


def draw_labelled(data: EmojiData, *, count: int, seed: int, good_share: float = 0.7) -> list[LabelledTriplet]:
    """``count`` triplets of held-out subjects, each from a drawing of its own; the faults are equally frequent.

    ``good_share`` of them are good, and of those a share like that of "colour_only" among the bad has a preserved
    layout, so that the layout does not give the truth away. A function of its arguments.
    """
    rng = np.random.default_rng([seed, 2])
    good = rng.random(count) < good_share
    faults = rng.choice(np.array(list(FAULT_LABELS)), count)
    preserved = rng.random(count) < 1 / len(FAULT_LABELS)
    found = []
    for i in range(count):
        fault: Fault = "none" if good[i] else faults[i].item()
        if good[i] and preserved[i]:
            triplet = ink_unit(data, seed=seed, number=i)
        else:
            triplet = draw_unit(data, seed=seed, number=i)[fault]
        found.append(LabelledTriplet(triplet, bool(good[i]), FAULT_LABELS.get(fault, "")))
    return found
