"""Plan of the recipe from_pair: some of all possible (content, style) pairs, every image used about equally often."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from curate.errors import SourceError
from curate.item_columns import CHUNK, ItemColumns, Rows
from curate.keys import ID_BYTES, Raw
from curate.planning.draws import FairDraw
from curate.planning.identity import Layouts, Settings, UnitIds
from curate.planning.recipes import LAYOUTS, FromPairConfig
from curate.planning.stylized import item_order
from curate.planning.subjects import SIDES, Side, identity, side_of, words_of
from curate.records import SourceItem
from curate.unit_columns import Codes, Labels, Part, UnitColumns


class Drawn(NamedTuple):
    """Some pairs of one side of the split, in the order in which they were drawn."""

    contents: Rows
    """(N,) places among all contents."""
    styles: Rows
    """(N,) places among all styles."""
    layouts: Codes
    ids: Raw


def plan_pairs(recipe: FromPairConfig, settings: Settings, *, contents: ItemColumns, styles: ItemColumns,
               ) -> UnitColumns:
    """``count`` units, not in plan order yet. Content and style are of one side of the split, and of different subjects
    where both are known.

    A side gets its share of the contents, if it has styles at all. SourceError where there are fewer pairs than wanted.
    """
    halves = {side: _Half(settings, side, contents, styles) for side in SIDES}
    numbers = _shares(recipe.count, halves["train"], halves["val"])
    drawn = [(side, part) for side in SIDES for part in halves[side].draw(numbers[side])]
    sides = np.concatenate([np.full(len(part.ids), SIDES.index(side), dtype=np.int8) for side, part in drawn])
    parts = [part for _, part in drawn]
    style = Part("style", styles, np.concatenate([part.styles for part in parts]))
    return UnitColumns(
        recipe="from_pair", ids=np.concatenate([part.ids for part in parts]), sides=Labels(SIDES, sides),
        layouts=Labels(LAYOUTS, np.concatenate([part.layouts for part in parts])),
        target=Part("content", contents, np.concatenate([part.contents for part in parts])), other=style,
        style_of=style)


class _Half:
    """Contents and styles on one side of the split, and which of them may meet."""

    def __init__(self, settings: Settings, side: Side, contents: ItemColumns, styles: ItemColumns) -> None:
        def mine(items: ItemColumns, what: str) -> Rows:
            here = np.array([side == side_of(identity(item), seed=settings.seed, val_fraction=settings.val_fraction)
                             for item in items], dtype=bool)
            order = item_order(items, settings.seed, what)
            places: Rows = order[here[order]].astype(np.int32)
            return places

        self.seed, self.layouts, self.ids = settings.seed, Layouts(settings), UnitIds(settings)
        self.content_places, self.style_places = mine(contents, "content"), mine(styles, "style")
        self.contents = contents.take(self.content_places)
        self.styles = list(styles.take(self.style_places))
        self._same: defaultdict[str, list[int]] = defaultdict(list)
        """Identity or hash -> styles that have it."""
        for i, style in enumerate(self.styles):
            for name in {identity(style), style.sha256}:
                self._same[name].append(i)
        self.num_pairs = sum(len(self.styles) - len(self._banned(content)) for content in self.contents)

    def draw(self, number: int) -> Iterator[Drawn]:
        """Contents take turns, each drawing a style that it has not met."""
        fair = FairDraw([style.sha256 for style in self.styles], draws=number, seed=self.seed)
        met: list[Rows] = []
        """For each turn: (contents,) the style that each has met, -1 = none."""
        for turn in range(len(self.styles)):
            met.append(np.full(len(self.contents), -1, dtype=np.int32))
            start = 0
            while number and start < len(self.contents):
                stop = min(start + min(CHUNK, number), len(self.contents))  # so never more than are wanted
                items = self.contents[start:stop]
                before = np.stack(met[:turn], axis=1)[start:stop].tolist() if turn else [()] * len(items)
                banned = [{*self._banned(item), *them} - {-1} for item, them in zip(items, before, strict=True)]
                got = fair.take([f"{item.sha256} {turn}" for item in items], banned)
                met[turn][start:stop] = [-1 if style is None else style for style in got]
                found = [(start + i, item, style) for i, (item, style) in enumerate(zip(items, got, strict=True))
                         if style is not None]
                if found:
                    yield self._drawn(turn, found)
                number -= len(found)
                start = stop

    def _drawn(self, turn: int, found: Sequence[tuple[int, SourceItem, int]]) -> Drawn:
        codes = self.layouts.after(self.layouts.first([content.sha256 for _, content, _ in found]), turn)
        made = []
        for (_, content, row), code in zip(found, codes.tolist(), strict=True):
            style = self.styles[row]
            inputs = f'{{"content": "{content.sha256}", "style": "{style.sha256}"}}'
            made.append(self.ids.make(layout=LAYOUTS[code], caption=words_of(content), style_caption=words_of(style),
                                      inputs=inputs))
        return Drawn(self.content_places[[place for place, _, _ in found]],
                     self.style_places[[row for _, _, row in found]], codes,
                     np.frombuffer(b"".join(made), dtype=np.uint8).reshape(-1, ID_BYTES))

    def _banned(self, content: SourceItem) -> set[int]:
        return {i for name in (identity(content), content.sha256) for i in self._same.get(name, ())}


def _shares(count: int, train: _Half, val: _Half) -> dict[Side, int]:
    if count > train.num_pairs + val.num_pairs:
        raise SourceError(f"recipe.count: {count} pairs wanted, and {train.num_pairs + val.num_pairs} can be made: "
                          f"{len(train.contents)} contents x {len(train.styles)} styles in train, {len(val.contents)} "
                          f"x {len(val.styles)} in val, less those of one subject")
    wanted = round(count * len(val.contents) / (len(train.contents) + len(val.contents)))
    here = max(min(wanted, val.num_pairs), count - train.num_pairs)
    return {"train": count - here, "val": here}
