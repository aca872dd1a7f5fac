"""Batches of subjects x styles with both labels known: what the zoo's scorers learn from and are measured on.

A style is a plain emoji set, or a parametric style laid over drawings of one set or of several. The same few
subjects are drawn in many styles of a batch, so that a style must be told apart on equal content and a
subject on unequal style.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from curate.parametric import Style, apply_style, plain, sample_style
from curate.zoo.augment import move, nudge_colours, recolour, soften, throw
from curate.zoo.data import HELDOUT_SETS, EmojiData

Pixels = NDArray[np.uint8]
Index = NDArray[np.int64]

ONE_SET_CHANCE: Final = 0.5  # a parametric style lies over one set this often, else over a mix
RECOLOUR_CHANCE: Final = 0.5  # in batches of subjects
RECOLOURED: Final = "recoloured"  # the family of a set in other colours


@dataclass(frozen=True)
class Labelled:
    """images uint8 (B, 64, 64, 3); style and subject int64 (B,): equal number = equal style or subject within
    this batch.

    source is the emoji set of each image, int64 (B,); family names its style: a set's name or a parametric
    family.
    """

    images: Pixels
    style: Index
    subject: Index
    source: Index
    family: tuple[str, ...]


@dataclass(frozen=True)
class Mix:
    """A batch: ``plain`` sets x ``per_plain``, ``painted`` styles x ``per_painted`` and ``recoloured`` sets x
    ``per_recoloured`` subjects.

    A set in other colours, the same for all of its drawings, is one more style: palettes that no set has, ``nudged`` of
    them near the set's own.
    ``pool`` subjects are drawn for the whole batch.
    """

    plain: int = 8
    per_plain: int = 8
    painted: int = 16
    per_painted: int = 4
    recoloured: int = 0
    per_recoloured: int = 6
    nudged: float = 0.0
    pool: int = 24

    @property
    def size(self) -> int:
        """Images in one batch."""
        return (
            self.plain * self.per_plain
            + self.painted * self.per_painted
            + self.recoloured * self.per_recoloured
        )


def training_sets(data: EmojiData) -> list[int]:
    """Indices of the sets that trainings may see."""
    return [i for i, name in enumerate(data.set_names) if name not in HELDOUT_SETS]


def draw_batch(
    data: EmojiData,
    rng: np.random.Generator,
    *,
    subjects: Index,
    sets: Sequence[int],
    mix: Mix,
    augment: bool = True,
) -> Labelled:
    """One batch from the given subjects and sets, a function of arguments and generator alone."""
    pool = rng.choice(subjects, size=min(mix.pool, len(subjects)), replace=False)
    chosen = rng.choice(np.asarray(sets), size=min(mix.plain, len(sets)), replace=False).tolist()
    plans: list[tuple[str, Style | None, int | None, list[int], int]] = [
        (data.set_names[which], None, None, [which], mix.per_plain) for which in chosen
    ]
    for _ in range(mix.painted):
        style = sample_style(rng)
        over = [int(rng.choice(np.asarray(sets)))] if rng.random() < ONE_SET_CHANCE else list(sets)
        plans.append((style.family, style, None, over, mix.per_painted))
    for _ in range(mix.recoloured):
        colours = int(rng.integers(2**31))
        plans.append((RECOLOURED, None, colours, [int(rng.choice(np.asarray(sets)))], mix.per_recoloured))
    images, style_ids, rows, families = [], [], [], []
    for number, (family, painted, recoloured, over, count) in enumerate(plans):
        for row in _rows_of(data, rng, pool, over, count):
            drawing = data.images[row]
            if recoloured is not None:
                drawing = _in_other_colours(drawing, np.random.default_rng(recoloured), nudged=mix.nudged)
            images.append(draw(drawing, painted, rng if augment else None))
            style_ids.append(number)
            rows.append(row)
            families.append(family)
    return Labelled(
        images=np.stack(images),
        style=np.array(style_ids),
        subject=data.subject_index[rows],
        source=data.set_index[rows],
        family=tuple(families),
    )


def _in_other_colours(rgba: Pixels, rng: np.random.Generator, *, nudged: float) -> Pixels:
    change = nudge_colours if rng.random() < nudged else recolour
    return change(rgba, rng)


def _rows_of(
    data: EmojiData, rng: np.random.Generator, pool: Index, sets: Sequence[int], count: int
) -> list[int]:
    """Up to ``count`` rows of different subjects, each from a random one of the sets that draw it."""
    rows: list[int] = []
    for subject in rng.permutation(pool).tolist():
        choices = [row for row in data.rows[subject, list(sets)].tolist() if row >= 0]
        if choices:
            rows.append(int(rng.choice(choices)))
        if len(rows) == count:
            break
    return rows


def draw(rgba: Pixels, style: Style | None, rng: np.random.Generator | None) -> Pixels:
    """A drawing (64, 64, 4) in a style (None: plain): (64, 64, 3); ``rng`` moves, flips, softens it."""
    if rng is not None:
        rgba = move(rgba, rng)
    painted = plain(rgba) if style is None else apply_style(style, rgba)
    return painted if rng is None else soften(painted, rng)


def _thrown(rgba: Pixels, style: Style | None, rng: np.random.Generator) -> Pixels:
    """A drawing as a model of subjects may meet it: moved far, and half of the time in other colours."""
    rgba = throw(rgba, rng)
    if rng.random() < RECOLOUR_CHANCE:
        rgba = recolour(rgba, rng)
    return soften(plain(rgba) if style is None else apply_style(style, rgba), rng)


def draw_subject_batch(
    data: EmojiData,
    rng: np.random.Generator,
    *,
    subjects: Index,
    sets: Sequence[int],
    count: int,
    per_subject: int,
    styles: int,
    painted_chance: float = 0.4,
    augment: bool = True,
) -> Labelled:
    """``count`` subjects x ``per_subject`` drawings, some painted in one of ``styles`` shared styles.

    Because styles are shared by the batch, style alone tells nothing about the subject. style is the index of
    the parametric style, or -1 - set for a plain drawing.
    """
    shared = [sample_style(rng) for _ in range(styles)]
    images, style_ids, rows, families = [], [], [], []
    for subject in rng.choice(subjects, size=min(count, len(subjects)), replace=False).tolist():
        choices = np.array([row for row in data.rows[subject, list(sets)].tolist() if row >= 0])
        for row in rng.choice(choices, size=min(per_subject, len(choices)), replace=False).tolist():
            number = (
                int(rng.integers(styles)) if rng.random() < painted_chance else -1 - int(data.set_index[row])
            )
            style = shared[number] if number >= 0 else None
            images.append(_thrown(data.images[row], style, rng) if augment else draw(data.images[row], style, None))
            style_ids.append(number)
            rows.append(row)
            families.append(style.family if style else data.set_names[data.set_index[row]])
    return Labelled(
        images=np.stack(images),
        style=np.array(style_ids),
        subject=data.subject_index[rows],
        source=data.set_index[rows],
        family=tuple(families),
    )
