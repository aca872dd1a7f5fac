"""What the restyle expert is measured on: held-out subjects, styles of unseen parameters, truth known to the pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from curate.parametric import Style, apply_style, plain, sample_style
from curate.zoo.data import EmojiData
from curate.zoo.restyle_data import aligned_pairs

Pixels: TypeAlias = NDArray[np.uint8]

EVAL_SEED: Final = 20_011  # not a training seed


@dataclass(frozen=True)
class Cases:
    """N evaluation cases; images are uint8 (N, 64, 64, 3), the rest int64 (N,).

    subject  index of what `image` and `truth` show
    source   index of the set that drew `image`
    wanted   index of the set that drew `reference` and `truth`
    styles   the N parametric styles of `reference` and `truth`; empty where they are as drawn
    """

    image: Pixels
    reference: Pixels
    truth: Pixels
    subject: NDArray[np.int64]
    source: NDArray[np.int64]
    wanted: NDArray[np.int64]
    styles: tuple[Style, ...] = ()


def parametric_cases(data: EmojiData, sets: Sequence[int], *, count: int) -> Cases:
    """Held-out subjects X and Y of one set B, a style p of unseen parameters: image plain X, reference p on
    Y, truth p on X."""
    columns: dict[str, list[Pixels]] = {"image": [], "reference": [], "truth": []}
    subjects, sources, styles = [], [], []
    for index in range(count):
        rng = np.random.default_rng([EVAL_SEED, index])
        which = int(rng.choice(np.asarray(sets)))
        rows = np.flatnonzero(data.heldout_subjects[data.subject_index] & (data.set_index == which))
        first, second = rng.choice(rows, size=2, replace=False).tolist()
        style = sample_style(rng)
        columns["image"].append(plain(data.images[first]))
        columns["reference"].append(apply_style(style, data.images[second]))
        columns["truth"].append(apply_style(style, data.images[first]))
        subjects.append(int(data.subject_index[first]))
        sources.append(which)
        styles.append(style)
    arrays = {name: np.stack(column) for name, column in columns.items()}
    where = np.array(sources)
    return Cases(**arrays, subject=np.array(subjects), source=where, wanted=where, styles=tuple(styles))


def between_cases(data: EmojiData, *, count: int) -> Cases:
    """Held-out subjects X and Y, sets A and B with one layout: image X of A, reference Y of B, truth X of B."""
    pairs = aligned_pairs(data, data.heldout_subjects)
    chosen = np.random.default_rng(EVAL_SEED).permutation(len(pairs))[:count]
    images, references, truths = [], [], []
    for index, (first, second) in enumerate(pairs[chosen].tolist()):
        rng = np.random.default_rng([EVAL_SEED, 1, index])
        same_set = data.set_index == data.set_index[second]
        others = (
            data.heldout_subjects[data.subject_index] & same_set & (data.subject_index != data.subject_index[second])
        )
        images.append(plain(data.images[first]))
        references.append(plain(data.images[int(rng.choice(np.flatnonzero(others)))]))
        truths.append(plain(data.images[second]))
    rows = pairs[chosen]
    return Cases(
        image=np.stack(images),
        reference=np.stack(references),
        truth=np.stack(truths),
        subject=data.subject_index[rows[:, 0]],
        source=data.set_index[rows[:, 0]],
        wanted=data.set_index[rows[:, 1]],
    )


def plain_all(data: EmojiData, rows: NDArray[np.int64]) -> Pixels:
    """The rows' drawings over white."""
    return np.stack([plain(data.images[int(row)]) for row in rows])
