"""The endless training stream of the restyle expert: sample i is a function of (seed, i).

Five kinds of sample, all with a target that is true to the pixel:

| kind      | image          | reference      | target        |
|-----------|----------------|----------------|---------------|
| stylize   | plain X of B   | p on Y of B    | p on X of B   |
| destylize | p on X of B    | the image      | plain X       |
| between   | plain X of A   | (p on) Y of B  | (p on) X of B | A, B sets with one layout
| undraw    | X of A         | the image      | plain X       |
| keep      | plain X of B   | plain Y of B   | the image     |

p is a parametric style, X and Y subjects, B a set. "Plain X" is X over white as B draws it, except that Fluent
3D and high contrast become Fluent flat, and EmojiOne monotone becomes EmojiOne: in each group of aligned sets
one is the plain one. A third of the destylize samples is moved by a similarity transform as the pipeline's
shifted layout does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from curate.parametric import Style, apply_style, plain, sample_style
from curate.zoo.data import ALIGNED_GROUPS, HELDOUT_SETS, EmojiData
from curate.zoo.style_labels import StyleLabels, label
from pipelines.compact.layout import IDENTITY, Similarity, draw_similarity, paper_of, transform

STYLIZE: Final = 0
DESTYLIZE: Final = 1
KINDS: Final = ("stylize", "destylize", "between", "undraw", "keep")
_SHARES: Final = (0.28, 0.44, 0.18, 0.05, 0.05)
# Monochrome sets are drawn less: their colours cannot be known, so as destylize inputs they teach mostly grey.
_SET_WEIGHTS: Final = {"fluent-emoji-high-contrast": 0.35, "emojione-monotone": 0.35}
_PLAIN_OF: Final = {
    "fluent-emoji": "fluent-emoji-flat",
    "fluent-emoji-high-contrast": "fluent-emoji-flat",
    "emojione-monotone": "emojione",
}
_LAYOUT_IOU: Final = 0.85


@dataclass(frozen=True)
class Batch:
    """float32 (B, 3, 64, 64) in [-1, 1] each; `task` int64 (B,); `kind` int64 (B,), into KINDS; `labels` of the
    references."""

    image: Tensor
    reference: Tensor
    target: Tensor
    task: Tensor
    kind: Tensor
    labels: StyleLabels

    def to(self, device: torch.device) -> "Batch":
        """The same batch with images and tasks on a device; labels stay numpy."""
        image, reference, target = (each.to(device) for each in (self.image, self.reference, self.target))
        return Batch(image, reference, target, self.task.to(device), self.kind, self.labels)


@dataclass(frozen=True)
class Sample:
    """uint8 (64, 64, 3) each, who drew the reference (a place among the training sets) in which style (None: as
    drawn), and how the training moves image and target."""

    image: NDArray[np.uint8]
    reference: NDArray[np.uint8]
    target: NDArray[np.uint8]
    task: int
    kind: int
    drawn_by: int
    style: Style | None
    similarity: Similarity = IDENTITY


@dataclass(frozen=True)
class RestyleStream:
    """Samples over the subjects and sets that training may see."""

    data: EmojiData
    seed: int
    batch: int = 32

    @cached_property
    def sets(self) -> list[int]:
        """Indices of the training sets."""
        return [index for index, name in enumerate(self.data.set_names) if name not in HELDOUT_SETS]

    @cached_property
    def by_set(self) -> dict[int, NDArray[np.int64]]:
        """Set -> rows of its training subjects."""
        allowed = ~self.data.heldout_subjects[self.data.subject_index]
        return {index: np.flatnonzero(allowed & (self.data.set_index == index)) for index in self.sets}

    @cached_property
    def set_shares(self) -> NDArray[np.float64]:
        """How often each training set is drawn."""
        weights = np.array([_SET_WEIGHTS.get(self.data.set_names[index], 1.0) for index in self.sets])
        shares: NDArray[np.float64] = weights / weights.sum()
        return shares

    @cached_property
    def plain_row(self) -> NDArray[np.int64]:
        """int64 (N,): the row that de-stylizing a row should give (itself for most sets)."""
        rows = np.arange(len(self.data.images))
        for name, plain_name in _PLAIN_OF.items():
            mine = np.flatnonzero(self.data.set_index == self.data.set_names.index(name))
            theirs = self.data.rows[self.data.subject_index[mine], self.data.set_names.index(plain_name)]
            rows[mine] = np.where(theirs >= 0, theirs, mine)
        return rows

    @cached_property
    def aligned_pairs(self) -> NDArray[np.int64]:
        """int64 (P, 2): rows (A, B) of one training subject in two sets whose drawings agree in layout."""
        return aligned_pairs(self.data, ~self.data.heldout_subjects)

    def sample(self, index: int) -> Sample:
        """Sample `index` of the stream."""
        rng = np.random.default_rng([self.seed, index])
        kind = int(rng.choice(len(KINDS), p=_SHARES))
        return (self._stylize, self._destylize, self._between, self._undraw, self._keep)[kind](rng, kind)

    def samples_at(self, step: int) -> list[Sample]:
        """Samples step * batch ... (step + 1) * batch - 1. Numpy only: fit for a background thread, where
        torch would start threads."""
        return [self.sample(step * self.batch + offset) for offset in range(self.batch)]

    def _stylize(self, rng: np.random.Generator, kind: int) -> Sample:
        which = int(rng.choice(self.sets, p=self.set_shares))
        other = which if rng.random() < 0.75 else self._stranger(rng, which)
        style = sample_style(rng)
        subject = self.drawing(rng, self.by_set[which])
        model = self.drawing(rng, self.by_set[other])
        painted = apply_style(style, subject)
        return Sample(plain(subject), apply_style(style, model), painted, STYLIZE, kind, self.sets.index(other), style)

    def _destylize(self, rng: np.random.Generator, kind: int) -> Sample:
        which = int(rng.choice(self.sets, p=self.set_shares))
        return self._remove(rng, int(rng.choice(self.by_set[which])), styled=True, kind=kind)

    def _undraw(self, rng: np.random.Generator, kind: int) -> Sample:
        which = int(rng.choice(self.sets))
        return self._remove(rng, int(rng.choice(self.by_set[which])), styled=False, kind=kind)

    def _remove(self, rng: np.random.Generator, row: int, *, styled: bool, kind: int) -> Sample:
        drawing, bare = self.data.images[row], self.data.images[self.plain_row[row]]
        if rng.random() < 0.5:
            drawing, bare = drawing[:, ::-1], bare[:, ::-1]
        style = sample_style(rng) if styled else None
        image = plain(drawing) if style is None else apply_style(style, drawing)
        moved = rng.random() < 0.33
        generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
        similarity = draw_similarity(generator) if moved else IDENTITY
        drawn_by = self.sets.index(int(self.data.set_index[row]))
        return Sample(image, image, plain(bare), DESTYLIZE, kind, drawn_by, style, similarity)

    def _between(self, rng: np.random.Generator, kind: int) -> Sample:
        first, second = self.aligned_pairs[rng.integers(len(self.aligned_pairs))]
        before, after = self.data.images[first], self.data.images[second]
        if rng.random() < 0.5:
            before, after = before[:, ::-1], after[:, ::-1]
        which = int(self.data.set_index[second])
        model = self.drawing(rng, self.by_set[which])
        style = sample_style(rng) if rng.random() < 0.3 else None
        reference, target = (plain(each) if style is None else apply_style(style, each) for each in (model, after))
        return Sample(plain(before), reference, target, STYLIZE, kind, self.sets.index(which), style)

    def _keep(self, rng: np.random.Generator, kind: int) -> Sample:
        which = int(rng.choice(self.sets))
        image = plain(self.drawing(rng, self.by_set[which]))
        reference = plain(self.drawing(rng, self.by_set[which]))
        return Sample(image, reference, image, STYLIZE, kind, self.sets.index(which), None)

    def drawing(self, rng: np.random.Generator, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        drawing: NDArray[np.uint8] = self.data.images[int(rng.choice(rows))]
        return drawing[:, ::-1] if rng.random() < 0.5 else drawing

    def _stranger(self, rng: np.random.Generator, which: int) -> int:
        """A training set outside the aligned group of `which`: a reference from inside would ask for another
        set."""
        name = self.data.set_names[which]
        group = next((group for group in ALIGNED_GROUPS if name in group), (name,))
        return int(rng.choice([index for index in self.sets if self.data.set_names[index] not in group]))


def aligned_pairs(data: EmojiData, subjects: NDArray[np.bool_]) -> NDArray[np.int64]:
    """int64 (P, 2): ordered pairs of rows, one subject, two sets of one aligned group, both ways round.

    Fluent's three and EmojiOne's two agree by construction; Noto and Noto v1 only where their silhouettes
    overlap (IoU >= 0.85).
    """
    pairs: list[NDArray[np.int64]] = []
    for group in ALIGNED_GROUPS:
        for first in group:
            for second in group:
                if first == second:
                    continue
                both = data.rows[:, [data.set_names.index(first), data.set_names.index(second)]]
                both = both[subjects & (both >= 0).all(1)]
                if "noto" in group:
                    both = both[[_overlap(data, int(a), int(b)) >= _LAYOUT_IOU for a, b in both]]
                pairs.append(both)
    return np.concatenate(pairs)


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack samples, to float, and move those that have a similarity."""
    image = to_float(np.stack([each.image for each in samples]))
    reference = to_float(np.stack([each.reference for each in samples]))
    target = to_float(np.stack([each.target for each in samples]))
    moved = [place for place, each in enumerate(samples) if each.similarity != IDENTITY]
    if moved:
        similarities = [samples[place].similarity for place in moved]
        image[moved] = transform(image[moved], similarities, paper_of(image[moved]))
        target[moved] = transform(target[moved], similarities, torch.ones(len(moved), 3))
        reference[moved] = image[moved]
    task = torch.tensor([each.task for each in samples])
    labels = label(
        [each.style for each in samples],
        [each.drawn_by for each in samples],
        [each.similarity == IDENTITY for each in samples],
    )
    kind = torch.tensor([each.kind for each in samples])
    return Batch(image=image, reference=reference, target=target, task=task, kind=kind, labels=labels)


def to_float(images: NDArray[np.uint8]) -> Tensor:
    """uint8 (B, H, W, 3) -> float32 (B, 3, H, W) in [-1, 1], channels last in memory."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 127.5 - 1


def _overlap(data: EmojiData, first: int, second: int) -> float:
    one, two = data.images[first, ..., 3] > 127, data.images[second, ..., 3] > 127
    return float((one & two).sum() / max(1, (one | two).sum()))
