"""Plan of the recipe from_pair: some of all possible (content, style) pairs, every image used about equally often."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from curate import seeds
from curate.errors import SourceError
from curate.planning.draws import FairDraw
from curate.planning.identity import Settings, layout_of, make_unit
from curate.planning.recipes import FromPairConfig
from curate.planning.subjects import SIDES, Side, identity, side_of, words_of
from curate.records import SourceItem, Unit


class Pair(NamedTuple):
    """A content and the style it drew in its ``turn`` (0 = its first)."""

    content: SourceItem
    style: SourceItem
    turn: int


def plan_pairs(
    recipe: FromPairConfig, settings: Settings, *, contents: Sequence[SourceItem], styles: Sequence[SourceItem],
) -> list[Unit]:
    """``count`` units. Content and style are of one side of the split, and of different subjects where both are known.

    A side gets its share of the contents, if it has styles at all. SourceError where there are fewer pairs than wanted.
    """
    halves = {side: _Half(settings, side, contents, styles) for side in SIDES}
    numbers = _shares(recipe.count, halves["train"], halves["val"])
    return [_unit(settings, pair, side=side) for side in SIDES for pair in halves[side].draw(numbers[side])]


class _Half:
    """Contents and styles on one side of the split, and which of them may meet."""

    def __init__(self, settings: Settings, side: Side, contents: Sequence[SourceItem],
                 styles: Sequence[SourceItem]) -> None:
        def mine(items: Sequence[SourceItem], what: str) -> list[SourceItem]:
            here = [item for item in items if side == side_of(identity(item), seed=settings.seed,
                                                              val_fraction=settings.val_fraction)]
            return sorted(here, key=lambda item: seeds.digest(settings.seed, what, item.sha256))

        self.seed = settings.seed
        self.contents, self.styles = mine(contents, "content"), mine(styles, "style")
        self._identities = np.array([identity(style) for style in self.styles], dtype=object)
        self._sha256 = np.array([style.sha256 for style in self.styles], dtype=object)
        self.num_pairs = sum(int(self._partners(content).sum()) for content in self.contents)

    def draw(self, number: int) -> Iterator[Pair]:
        """Contents take turns, each drawing a style that it has not met."""
        fair = FairDraw([style.sha256 for style in self.styles], draws=number, seed=self.seed)
        met: defaultdict[str, list[int]] = defaultdict(list)
        turns = itertools.product(range(len(self.styles)), self.contents)
        while number and (turn := next(turns, None)):
            content = turn[1]
            allowed = self._partners(content)
            allowed[met[content.sha256]] = False
            index = fair.take(f"{content.sha256} {turn[0]}", allowed)
            if index is not None:
                met[content.sha256].append(index)
                number -= 1
                yield Pair(content, self.styles[index], turn[0])

    def _partners(self, content: SourceItem) -> npt.NDArray[np.bool_]:
        partners: npt.NDArray[np.bool_] = (self._identities != identity(content)) & (self._sha256 != content.sha256)
        return partners


def _shares(count: int, train: _Half, val: _Half) -> dict[Side, int]:
    if count > train.num_pairs + val.num_pairs:
        raise SourceError(f"recipe.count: {count} pairs wanted, and {train.num_pairs + val.num_pairs} can be made: "
                          f"{len(train.contents)} contents x {len(train.styles)} styles in train, {len(val.contents)} "
                          f"x {len(val.styles)} in val, less those of one subject")
    wanted = round(count * len(val.contents) / (len(train.contents) + len(val.contents)))
    here = max(min(wanted, val.num_pairs), count - train.num_pairs)
    return {"train": count - here, "val": here}


def _unit(settings: Settings, pair: Pair, *, side: Side) -> Unit:
    content, style, turn = pair
    return make_unit(settings, layout=layout_of(settings, content, turn), side=side,
                     inputs={"content": content, "style": style}, caption=words_of(content),
                     style_caption=words_of(style), subject=content.subject, style_subject=style.subject,
                     style=style.style)
