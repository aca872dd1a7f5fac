"""Plan of the recipe from_stylized: every image of the source is a target; who is drawn anew is a fair draw.

Targets are gone through a chunk at a time; what is kept of each is a few numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np

from curate import seeds
from curate.errors import SourceError
from curate.item_columns import CHUNK, ItemColumns, Rows
from curate.keys import ID_BYTES, Ints, Raw, sorting
from curate.planning.bank import NewSubject, Pool, new_subjects
from curate.planning.identity import Layouts, Settings, UnitIds
from curate.planning.recipes import LAYOUTS, FromStylizedConfig
from curate.planning.subjects import SIDES, Side, identity, side_of, words_of
from curate.records import SourceItem
from curate.unit_columns import Labels, Part, UnitColumns

NO_IMAGE = "0" * 64
"""sha256 of a bank entry that is words alone; no unit shows it."""
Corner = tuple[Side, str]
"""Targets that draw from one pool: their side of the split, and their emoji set if that has to match (else "")."""


def plan_stylized(
    recipe: FromStylizedConfig, settings: Settings, *, targets: ItemColumns, subjects: ItemColumns | None,
) -> UnitColumns:
    """``per_target`` units of every target, not in plan order yet. SourceError where a target has too few other
    subjects on its side."""
    bank = new_subjects(recipe, subjects, may_be_mute=settings.captioner is not None)
    return _Drawing(recipe, settings, targets, bank).units()


class _Chunk(NamedTuple):
    start: int
    items: list[SourceItem]
    corners: list[int]


class _Drawing:
    """One plan in the making. Arrays are in the order of ``targets``."""

    def __init__(self, recipe: FromStylizedConfig, settings: Settings, targets: ItemColumns,
                 bank: Sequence[NewSubject]) -> None:
        self.recipe, self.settings, self.bank = recipe, settings, bank
        self.targets = targets.take(item_order(targets, settings.seed, "target"))
        self.corners: dict[Corner, int] = {}
        self.corner_of = np.empty(len(targets), dtype=np.int32)
        layouts = Layouts(settings)
        self.layouts = np.empty(len(targets), dtype=np.int8)
        for start in range(0, len(targets), CHUNK):
            items = self.targets[start:start + CHUNK]
            found = [self._corner(identity(item), item.style) for item in items]
            numbers = [self.corners.setdefault(corner, len(self.corners)) for corner in found]
            self.corner_of[start:start + len(items)] = numbers
            self.layouts[start:start + len(items)] = layouts.first([item.sha256 for item in items])
        self.after = layouts.after
        self.members, self.pools = self._pools()
        self.ids = UnitIds(settings)
        self.taken: list[Rows] = []
        """For each draw so far: (N,) positions in the pools' banks."""

    def units(self) -> UnitColumns:
        """All of them, draw after draw."""
        n, draws = len(self.targets), self.recipe.per_target
        ids = np.empty((draws * n, ID_BYTES), dtype=np.uint8)
        drawn = np.empty(draws * n, dtype=np.int32)
        banned: list[list[tuple[int, ...]]] = []
        for draw in range(draws):
            self.taken.append(np.empty(n, dtype=np.int32))
            for number, chunk in enumerate(self._chunks()):
                if draw == 0:
                    targets = zip(chunk.corners, chunk.items, strict=True)
                    banned.append([self.pools[corner].banned(item) for corner, item in targets])
                self._draw(chunk, draw, banned[number])
                here = slice(chunk.start, chunk.start + len(chunk.items))
                rows = [self.members[c][i] for c, i in zip(chunk.corners, self.taken[draw][here].tolist(), strict=True)]
                there = slice(draw * n + here.start, draw * n + here.stop)
                drawn[there], ids[there] = rows, self._ids(chunk, rows, draw)
        role, entries = self._entries()
        places = np.tile(np.arange(n, dtype=np.int32), draws)
        target = Part("stylized", self.targets, places)
        sides = np.array([SIDES.index(side) for side, _ in self.corners], dtype=np.int8)
        return UnitColumns(
            recipe="from_stylized", ids=ids,
            layouts=Labels(LAYOUTS, np.concatenate([self.after(self.layouts, draw) for draw in range(draws)])),
            sides=Labels(SIDES, np.tile(sides[self.corner_of], draws)),
            target=target, other=Part(role, entries, drawn), style_of=target)

    def _chunks(self) -> Iterator[_Chunk]:
        for start in range(0, len(self.targets), CHUNK):
            yield _Chunk(start, self.targets[start:start + CHUNK], self.corner_of[start:start + CHUNK].tolist())

    def _draw(self, chunk: _Chunk, draw: int, banned: Sequence[Collection[int]]) -> None:
        here = self.taken[draw][chunk.start:chunk.start + len(chunk.items)]
        before = [column[chunk.start:chunk.start + len(chunk.items)].tolist() for column in self.taken[:draw]]
        corners = np.array(chunk.corners)
        lost: list[int] = []
        for corner in np.unique(corners).tolist():  # pools know nothing of each other, so each may be drawn from apart
            pool, members = self.pools[corner], np.flatnonzero(corners == corner).tolist()
            out = [{*banned[i], *(like for column in before for like in pool.like(column[i]))} for i in members]
            got = pool.take([chunk.items[i].sha256 for i in members], out, draw=draw)
            lost += [i for i, position in zip(members, got, strict=True) if position is None]
            here[members] = [-1 if position is None else position for position in got]
        if lost:
            raise SourceError(self._too_few(chunk.items[min(lost)], chunk.corners[min(lost)]))

    def _ids(self, chunk: _Chunk, rows: Sequence[int], draw: int) -> Raw:
        first = self.layouts[chunk.start:chunk.start + len(chunk.items)]
        layouts = self.after(first, draw).tolist()
        made = []
        for item, row, layout in zip(chunk.items, rows, layouts, strict=True):
            new = self.bank[row]
            second = f', "subject": "{new.key}"' if new.item is not None else ""
            made.append(self.ids.make(layout=LAYOUTS[layout], caption=words_of(item), style_caption=new.words,
                                      inputs=f'{{"stylized": "{item.sha256}"{second}}}'))
        return np.frombuffer(b"".join(made), dtype=np.uint8).reshape(-1, ID_BYTES)

    def _entries(self) -> tuple[Literal["subject"] | None, ItemColumns]:
        """The bank as items: images, or words with no image."""
        if all(entry.item is not None for entry in self.bank):
            return "subject", ItemColumns.of(entry.item for entry in self.bank if entry.item is not None)
        return None, ItemColumns.of(SourceItem("", "", "", NO_IMAGE, entry.words, entry.subject) for entry in self.bank)

    def _corner(self, who: str, style: str) -> Corner:
        side = side_of(who, seed=self.settings.seed, val_fraction=self.settings.val_fraction)
        return side, style.partition("/")[0] if self.recipe.match_set else ""

    def _pools(self) -> tuple[list[list[int]], list[Pool]]:
        """For each corner the rows of the bank that it draws from, and the pool of them."""
        members: list[list[int]] = [[] for _ in self.corners]
        for row, entry in enumerate(self.bank):
            corner = self._corner(entry.identity, entry.style)
            if corner in self.corners:
                members[self.corners[corner]].append(row)
        targets = Counter(self.corner_of.tolist())
        return members, [Pool([self.bank[row] for row in rows], draws=targets[corner] * self.recipe.per_target,
                              seed=self.settings.seed) for corner, rows in enumerate(members)]

    def _too_few(self, target: SourceItem, corner: int) -> str:
        side, emoji_set = next(known for known, number in self.corners.items() if number == corner)
        recipe, there = self.recipe, len(self.members[corner])
        of_set = f" of the set {emoji_set!r}" if recipe.match_set else ""
        advice = "give more subjects" + (", a smaller recipe.per_target" if recipe.per_target > 1 else "") + (
            ", or set val_fraction: 0" if self.settings.val_fraction else "")
        return (f"sources.subjects: {target.uri} is on the {side} side and needs {recipe.per_target} other subject(s)"
                f"{of_set} from that side, where the bank has {there} in all: {advice}")


def item_order(items: ItemColumns, seed: int, what: str) -> Ints:
    """(N,) the places of items in the order of a hash of their contents."""
    digest = seeds.Digests(seed, what)
    parts = [b"".join(map(digest, items.text("sha256", start, start + CHUNK).to_pylist()))
             for start in range(0, len(items), CHUNK)]
    return sorting(np.frombuffer(b"".join(parts), dtype=np.uint8).reshape(-1, ID_BYTES))
