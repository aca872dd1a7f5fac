"""Questions with known answers for the compact judge: pairs of images, a question, a rating from 0 to 4.

A grid paints the same subjects in the same styles, so that for either question both answers exist with
everything else equal: same subject in another style, another subject in the same style, and so on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from curate.parametric import sample_style
from curate.zoo.data import EmojiData
from curate.zoo.factorial import Index, Pixels, draw, training_sets

SAME, AKIN, OTHER = 4, 2, 0
"""Ratings. Akin: names with the same last word ("red heart", "blue heart"), styles of one family."""
AKIN_CHANCE: Final = 0.15


@dataclass(frozen=True)
class Grid:
    """S subjects in T styles: images uint8 (S * T, 64, 64, 3), row s * T + t.

    subject_kind (S,) last word of the name; style_family (T,) parametric family or set.
    """

    images: Pixels
    num_styles: int
    subject_kind: tuple[str, ...]
    style_family: tuple[str, ...]

    @property
    def num_subjects(self) -> int:
        """S."""
        return len(self.subject_kind)


@dataclass(frozen=True)
class Pairs:
    """B questions over a grid: rows first, second int64 (B,), asks_style bool (B,), rating int64 (B,)."""

    first: Index
    second: Index
    asks_style: np.ndarray[tuple[int], np.dtype[np.bool_]]
    rating: Index


def draw_grid(
    data: EmojiData,
    rng: np.random.Generator,
    *,
    subjects: Index,
    num_subjects: int = 32,
    num_painted: int = 15,
    sets: list[int] | None = None,
    augment: bool = True,
) -> Grid:
    """Paint a grid: the plain sets and ``num_painted`` parametric styles over drawings from any of the sets.

    Only subjects that all ``sets`` draw are chosen, so that every cell is what its labels say.
    """
    sets = sets if sets is not None else training_sets(data)
    complete = subjects[(data.rows[subjects][:, sets] >= 0).all(axis=1)]
    chosen = rng.choice(complete, size=min(num_subjects, len(complete)), replace=False).tolist()
    styles = [sample_style(rng) for _ in range(num_painted)]
    cells = []
    for subject in chosen:
        cells += [
            draw(data.images[data.rows[subject, which]], None, rng if augment else None) for which in sets
        ]
        for style in styles:
            row = data.rows[subject, int(rng.choice(np.asarray(sets)))]
            cells.append(draw(data.images[row], style, rng if augment else None))
    return Grid(
        images=np.stack(cells),
        num_styles=len(sets) + num_painted,
        subject_kind=tuple(data.subjects[s].split()[-1] for s in chosen),
        style_family=(*(data.set_names[which] for which in sets), *(style.family for style in styles)),
    )


def draw_pairs(grid: Grid, rng: np.random.Generator, *, count: int) -> Pairs:
    """Half of the questions about style, half about the subject; half of each with the answer "same".

    What is not asked for differs where the answer is "same" and is the same half of the time where it is
    "other", so neither question can be answered by the other's evidence."""
    rows: list[tuple[int, int, bool, int]] = []
    for _ in range(count):
        asks_style, same = bool(rng.random() < 0.5), bool(rng.random() < 0.5)
        asked = grid.style_family if asks_style else grid.subject_kind
        a = int(rng.integers(len(asked)))
        b = a if same else _other(rng, asked, a)
        rating = SAME if a == b else AKIN if asked[a] == asked[b] else OTHER
        size = grid.num_subjects if asks_style else grid.num_styles
        x = int(rng.integers(size))
        y = x if not same and rng.random() < 0.5 else int((x + rng.integers(1, size)) % size)
        one, two = ((x, a), (y, b)) if asks_style else ((a, x), (b, y))  # (subject, style)
        rows.append(
            (one[0] * grid.num_styles + one[1], two[0] * grid.num_styles + two[1], asks_style, rating)
        )
    first, second, style, ratings = zip(*rows, strict=True)
    return Pairs(np.array(first), np.array(second), np.array(style), np.array(ratings))


def _other(rng: np.random.Generator, labels: tuple[str, ...], index: int) -> int:
    """Another index: sometimes one with the same label, where there is one."""
    akin = [i for i, label in enumerate(labels) if label == labels[index] and i != index]
    if akin and rng.random() < AKIN_CHANCE:
        return int(rng.choice(akin))
    return int((index + rng.integers(1, len(labels))) % len(labels))
