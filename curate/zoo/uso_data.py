"""The endless stream that the compact USO base learns from: sample i is a function of (seed, i).

    content    a training subject as a set draws it, over white
    target     the same drawing in a parametric style, or as it is, or the same subject as another set draws it
    caption    subject and style in words; each is left out now and then

A base is to know subjects, styles and how to follow a reference image; it never sees a style image. So what USO's
two stages add, style by example and its separation from content, is left for them to teach.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from curate.parametric import apply_style, plain, sample_style
from curate.zoo.augment import move, throw
from curate.zoo.data import EmojiData
from curate.zoo.factorial import training_sets
from curate.zoo.style_words import describe, describe_set

Pixels = NDArray[np.uint8]

PAINTED, AS_DRAWN, REDRAWN = "painted", "as drawn", "redrawn"
SHARES: Final = {PAINTED: 0.65, AS_DRAWN: 0.1, REDRAWN: 0.25}
THROW_CHANCE: Final = 0.3
SHIFT_CHANCE: Final = 0.1  # a content that lies elsewhere than in the target
NO_CONTENT: Final = 0.2
# what captions say: subject and style, subject, style, nothing
CAPTIONS: Final = (0.6, 0.1, 0.2, 0.1)


@dataclass(frozen=True)
class Sample:
    """content, target: uint8 (64, 64, 3); `seen` is False where the content is withheld."""

    content: Pixels
    target: Pixels
    caption: str
    seen: bool


@dataclass(frozen=True)
class BaseStream:
    """Samples over the subjects and sets that training may see."""

    data: EmojiData
    seed: int

    @cached_property
    def sets(self) -> list[int]:
        """Indices of the training sets."""
        return training_sets(self.data)

    @cached_property
    def subjects(self) -> NDArray[np.int64]:
        """Indices of the training subjects."""
        return np.flatnonzero(~self.data.heldout_subjects)

    def samples_at(self, step: int, *, batch: int) -> list[Sample]:
        """Samples step * batch ... (step + 1) * batch - 1. Numpy only: fit for a background thread."""
        return [self.sample(step * batch + offset) for offset in range(batch)]

    def sample(self, index: int) -> Sample:
        """Sample `index` of the stream."""
        rng = np.random.default_rng([self.seed, index])
        kind = str(rng.choice(list(SHARES), p=list(SHARES.values())))
        subject = int(rng.choice(self.subjects))
        rows = [row for row in self.data.rows[subject, self.sets].tolist() if row >= 0]
        first, other = rng.choice(rows, size=2, replace=False).tolist()
        augment = throw if rng.random() < THROW_CHANCE else move
        drawing = augment(self.data.images[first], rng)
        content = plain(drawing)
        if kind == PAINTED:
            style = sample_style(rng)
            target, words = apply_style(style, drawing), describe(style)
        else:
            row = first if kind == AS_DRAWN else other
            # another artist's layout is another anyway: no use in moving it too
            target = content if kind == AS_DRAWN else plain(self.data.images[row])
            words = describe_set(self.data.set_names[int(self.data.set_index[row])])
        if kind != REDRAWN and rng.random() < SHIFT_CHANCE:
            content = plain(throw(drawing, rng))
        name = self.data.subjects[subject]
        caption = str(rng.choice([f"{name}, {words}", name, words, ""], p=CAPTIONS))
        return Sample(content, target, caption, bool(rng.random() >= NO_CONTENT))


def to_tensor(images: Sequence[Pixels]) -> Tensor:
    """uint8 (64, 64, 3) each -> float32 (B, 3, 64, 64) in [-1, 1]."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 127.5 - 1
