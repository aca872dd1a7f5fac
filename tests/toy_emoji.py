"""Emoji data in miniature: every set of the zoo, drawn by code, so that tests need neither npm nor the
network."""

from __future__ import annotations

import numpy as np

from curate.zoo.data import ALIGNED_GROUPS, EmojiData
from curate.zoo.iconify import PACKAGE_VERSIONS

NUM_SUBJECTS = 24


def toy_emoji(num_subjects: int = NUM_SUBJECTS) -> EmojiData:
    """Each subject is one ellipse with a bar across; each set has its own colours; sets of one group share
    the layout."""
    sets = tuple(PACKAGE_VERSIONS)
    images, set_index, subject_index = [], [], []
    for subject in range(num_subjects):
        for which, name in enumerate(sets):
            group = next((group for group in ALIGNED_GROUPS if name in group), (name,))
            images.append(_drawing(subject, layout=sets.index(group[0]), colours=which))
            set_index.append(which)
            subject_index.append(subject)
    return EmojiData(
        images=np.stack(images),
        set_index=np.array(set_index, dtype=np.int64),
        subject_index=np.array(subject_index, dtype=np.int64),
        set_names=sets,
        subjects=tuple(f"thing {number}" for number in range(num_subjects)),
        licences=("MIT",) * len(sets),
    )


def _drawing(subject: int, *, layout: int, colours: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    shape = np.random.default_rng([subject, layout])
    fill, bar = np.random.default_rng([7, colours]).integers(0, 256, (2, 3))
    rows, columns = np.mgrid[:64, :64] - 32.0
    tall, wide = shape.uniform(12, 28, 2)
    inside = (rows / tall) ** 2 + (columns / wide) ** 2 < 1
    striped = np.abs(rows * np.cos(subject) + columns * np.sin(subject)) < 4
    image = np.zeros((64, 64, 4), dtype=np.uint8)
    image[inside, :3] = fill
    image[inside & striped, :3] = bar
    image[inside, 3] = 255
    return image
