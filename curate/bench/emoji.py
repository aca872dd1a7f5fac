"""emoji-bench: held-out subjects in styles of unseen parameters and in other sets, with the right answer known.

X is a held-out subject, Y another one, B the set that draws both, p a parametric style, A another set:

| task     | prompt | content image | style image | right answer                        |
|----------|--------|---------------|-------------|-------------------------------------|
| combined | X      | plain X of B  | p on Y of B | p on X of B, to the pixel           |
| combined | X      | plain X of B  | plain Y of A | plain X of A; to the pixel only where A and B share layouts |
| style    | X      |               | either      | X in that style                     |
| subject  | X      | plain X of B  |             | X                                   |

All is a function of the config's seed and the subject's name. Rendered once from npm packages (``curate.zoo.data``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np

from curate.bench.items import BenchItem, Picture, Task, Truth, picture_of, slug
from curate.errors import SourceError
from curate.parametric import apply_style, plain, sample_style
from curate.seeds import digest
from curate.seeds import seed as seed_of
from curate.zoo.data import ALIGNED_GROUPS, PLAIN_SETS, EmojiData, load_emoji

NUM_CANDIDATES: Final = 100


@dataclass(frozen=True)
class EmojiPlan:
    """How much of it: ``parametric`` and ``sets`` styles for each of ``subjects`` held-out subjects."""

    subjects: int
    parametric: int
    sets: int
    tasks: tuple[Task, ...]
    seed: int = 0


@dataclass
class _Album:
    """Pictures of the data, each encoded once."""

    data: EmojiData
    plains: dict[int, Picture] = field(default_factory=dict)

    def plain(self, row: int) -> Picture:
        if row not in self.plains:
            self.plains[row] = picture_of(self.name(row), plain(self.data.images[row]))
        return self.plains[row]

    def name(self, row: int) -> str:
        subject = self.data.subjects[self.data.subject_index[row]]
        return f"{slug(subject)}.{self.data.set_names[self.data.set_index[row]]}"

    def heldout_rows(self, which: int) -> list[int]:
        """Rows of the held-out subjects that a set draws."""
        rows = self.data.rows[self.data.heldout_subjects, which]
        return [int(row) for row in rows if row >= 0]

    def truth(self, row: int, *, target: Picture | None, set_name: str | None) -> Truth:
        """The gallery is up to 100 held-out subjects as the row's own set draws them, the right one first."""
        subject, which = int(self.data.subject_index[row]), int(self.data.set_index[row])
        others = [other for other in self.heldout_rows(which) if other != row]
        order = np.random.default_rng([NUM_CANDIDATES, subject]).permutation(len(others))[: NUM_CANDIDATES - 1]
        gallery = (row, *(others[place] for place in order.tolist()))
        return Truth(tuple(self.plain(each) for each in gallery), 0, self.plain(row), target, set_name)


def emoji_items(data: EmojiData, plan: EmojiPlan) -> list[BenchItem]:
    """All items. SourceError where the data has fewer held-out subjects than asked for."""
    album = _Album(data)
    heldout = [name for name, out in zip(data.subjects, data.heldout_subjects.tolist(), strict=True) if out]
    if len(heldout) < max(plan.subjects, 2):
        raise SourceError(f"emoji-bench: {plan.subjects} subjects asked for and {len(heldout)} are held out; "
                          "lower bench.subjects")
    chosen = sorted(heldout, key=lambda name: digest("emoji-bench", plan.seed, name))[: plan.subjects]
    items = [item for name in chosen for item in _of_subject(album, name, plan)]
    return [item for item in _without_repeats(items) if item.task in plan.tasks]


def _without_repeats(items: Sequence[BenchItem]) -> list[BenchItem]:
    """A set may be drawn twice for one subject; its subject item would then be there twice."""
    first: dict[str, BenchItem] = {}
    for item in items:
        first.setdefault(item.fingerprint, item)
    return list(first.values())


def _of_subject(album: _Album, name: str, plan: EmojiPlan) -> Iterator[BenchItem]:
    subject = album.data.subjects.index(name)
    for at in range(plan.parametric):
        rng = np.random.default_rng(seed_of("emoji-bench", plan.seed, name, "parametric", at))
        yield from _parametric(album, subject, f"{slug(name)}_p{at:02d}", rng, plan)
    for at in range(plan.sets):
        rng = np.random.default_rng(seed_of("emoji-bench", plan.seed, name, "sets", at))
        yield from _between_sets(album, subject, f"{slug(name)}_a{at:02d}", rng, plan)


def _parametric(album: _Album, subject: int, item_id: str, rng: np.random.Generator, plan: EmojiPlan,
                ) -> Iterator[BenchItem]:
    row = _content_row(album, subject, rng)
    other = _other_row(album, subject, int(album.data.set_index[row]), rng)
    style = sample_style(rng)
    images = album.data.images
    drawn = picture_of(f"{style.family}.{album.name(other)}", apply_style(style, images[other]))
    target = picture_of(f"{style.family}.{album.name(row)}", apply_style(style, images[row]))
    yield from _tasks(album, row, item_id, drawn, album.truth(row, target=target, set_name=None), plan)
    yield _item(album, "subject", row, item_id, plan, album.truth(row, target=None, set_name=None),
                content=album.plain(row))


def _between_sets(album: _Album, subject: int, item_id: str, rng: np.random.Generator, plan: EmojiPlan,
                  ) -> Iterator[BenchItem]:
    row = _content_row(album, subject, rng)
    source = int(album.data.set_index[row])
    drawing = [which for which in np.flatnonzero(album.data.rows[subject] >= 0).tolist() if which != source]
    wanted = int(rng.choice(drawing))
    other = _other_row(album, subject, wanted, rng)
    names = album.data.set_names
    aligned = any({names[source], names[wanted]} <= set(group) for group in ALIGNED_GROUPS)
    target = album.plain(int(album.data.rows[subject, wanted])) if aligned else None
    truth = album.truth(row, target=target, set_name=names[wanted])
    yield from _tasks(album, row, item_id, album.plain(other), truth, plan)


def _tasks(album: _Album, row: int, item_id: str, style: Picture, truth: Truth, plan: EmojiPlan,
           ) -> Iterator[BenchItem]:
    """The combined item, and the style item that is told the subject by its prompt alone."""
    yield _item(album, "combined", row, item_id, plan, truth, content=album.plain(row), style=style)
    by_prompt = Truth(truth.candidates, truth.subject_at, truth.plain, None, truth.set_name)
    yield _item(album, "style", row, item_id, plan, by_prompt, style=style)


def _item(album: _Album, task: Task, row: int, item_id: str, plan: EmojiPlan, truth: Truth, *,
          content: Picture | None = None, style: Picture | None = None) -> BenchItem:
    name = album.data.subjects[int(album.data.subject_index[row])]
    return BenchItem(item_id=item_id, task=task, prompt=name, subject=name, content=content, style=style,
                     seed=plan.seed, references=(content,) if content else (), truth=truth)


def _content_row(album: _Album, subject: int, rng: np.random.Generator) -> int:
    """The subject's drawing by one of the sets in full colour (by any set where none of those draws it)."""
    rows = album.data.rows[subject]
    full: Sequence[int] = [int(rows[at]) for at, name in enumerate(album.data.set_names)
                           if name in PLAIN_SETS and rows[at] >= 0]
    return int(rng.choice(full or [int(row) for row in rows if row >= 0]))


def _other_row(album: _Album, subject: int, which: int, rng: np.random.Generator) -> int:
    """Another held-out subject as drawn by a set."""
    rows = [row for row in album.heldout_rows(which) if int(album.data.subject_index[row]) != subject]
    if not rows:
        raise SourceError(f"emoji-bench: {album.data.set_names[which]} draws no second held-out subject")
    return int(rng.choice(rows))


@cache
def rendered_emoji(cache_folder: Path) -> EmojiData:
    """The rendered data, read once a process (190 MB)."""
    return load_emoji(cache_folder)
