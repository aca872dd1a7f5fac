"""Emoji as a source with known subjects and styles: what the quick start runs on, with no download.

About 1,240 subjects stand in each set. A style is a set in which a drawing appears as drawn, or painted over by one of
the parametric presets, so 2 sets x 36 styles give some 89,000 different images, labelled like ``twemoji/comic-dots``.
A scan renders what it offers: 5 ms an image at 64 px, 90 ms at 512 px on one core.
"""

from __future__ import annotations

import difflib
import io
import itertools
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import Annotated, Final, Literal, NamedTuple

import numpy as np
from PIL import Image
from pydantic import Field, field_validator

from curate import seeds
from curate.errors import SourceError
from curate.images import Uint8Array, encode, from_array
from curate.parametric import PRESETS, apply_style, plain
from curate.records import SourceItem
from curate.sources.base import Source, content_hash
from curate.sources.emoji_sets import SETS, emoji_subjects, svg_files
from curate.sources.heldout import is_heldout

AS_DRAWN: Final = "as-drawn"


class Drawing(NamedTuple):
    """One emoji of a set (by code points) in a style."""

    set_name: str
    style: str
    code: str


class EmojiSource(Source):
    """Emoji rendered at ``size`` pixels over white, as drawn or in parametric styles."""

    kind: Literal["emoji"] = "emoji"
    sets: Annotated[tuple[Literal["twemoji", "openmoji"], ...], Field(strict=False, min_length=1)] = (
        "twemoji", "openmoji")
    styles: Literal["all"] | Annotated[tuple[str, ...], Field(strict=False, min_length=1)] = (AS_DRAWN,)
    """``as-drawn`` (a bank of plain subjects), names of presets, or ``all``: every preset and as drawn."""
    count: int | None = Field(default=None, ge=1)
    """How many images: every style gets as many as any other (up to one), and no subject a second image before all had
    one. Without it, every subject in every style."""
    size: int = Field(default=512, ge=16, le=4096)
    """Pixels to draw at; the run brings pictures to its own ``size``."""
    heldout: bool = True
    """False leaves out the subjects that emoji-bench asks for: what is trained on the triplets can then be benched."""
    seed: int = 0
    """Which subjects meet which styles. A larger ``count`` with the same seed only adds images."""

    @field_validator("styles")
    @classmethod
    def _known(cls, styles: str | tuple[str, ...]) -> str | tuple[str, ...]:
        for style in (styles if isinstance(styles, tuple) else ()):
            if style not in PRESETS and style != AS_DRAWN:
                near = difflib.get_close_matches(style, [AS_DRAWN, *PRESETS], n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"there are: {AS_DRAWN}, {', '.join(PRESETS)}"
                raise ValueError(f"unknown style {style!r}; {hint}")
        return styles

    def _entries(self, notices: list[str]) -> Iterator[SourceItem]:
        styles = (AS_DRAWN, *PRESETS) if self.styles == "all" else tuple(dict.fromkeys(self.styles))
        labels = list(itertools.product(dict.fromkeys(self.sets), styles))
        codes: dict[str, AbstractSet[str]] = {name: self._codes(name) for name in self.sets}
        for drawing in choose_drawings(codes, labels, count=self.count, seed=self.seed):
            yield self._item(drawing)

    def _codes(self, name: str) -> AbstractSet[str]:
        codes = svg_files(name).keys()
        return codes if self.heldout else {code for code in codes if not is_heldout(emoji_subjects()[code])}

    def _item(self, drawing: Drawing) -> SourceItem:
        known = SETS[drawing.set_name]
        words = emoji_subjects()[drawing.code]
        changed = "" if drawing.style == AS_DRAWN else f"; restyled by the filter {drawing.style!r}"
        locator = "/".join(drawing)
        return SourceItem(
            source="", locator=locator, uri=f"{known.package}:{drawing.code}.svg#{drawing.style}",
            sha256=content_hash(self._read(locator)), caption=words, subject=words,
            style=f"{drawing.set_name}/{drawing.style}", licence=known.licence, attribution=known.attribution + changed,
        )

    def _read(self, locator: str) -> bytes:
        """PNG bytes, the same on every call with the same versions of the packages."""
        drawing = Drawing(*locator.split("/"))
        rgba = render_svg(drawing, size=self.size)
        pixels = plain(rgba) if drawing.style == AS_DRAWN else apply_style(PRESETS[drawing.style], rgba)
        return encode(from_array(pixels))


def render_svg(drawing: Drawing, *, size: int) -> Uint8Array:
    """uint8 (size, size, 4), straight alpha. SourceError if the set has no such drawing."""
    import resvg_py  # 10 MB, wanted by this source alone

    path = svg_files(drawing.set_name).get(drawing.code)
    if path is None:
        raise SourceError(f"{drawing.set_name}: no drawing {drawing.code}: is another version of "
                          f"{SETS[drawing.set_name].package} installed than when the run was planned?")
    png = resvg_py.svg_to_bytes(svg_path=str(path), width=size, height=size, skip_system_fonts=True)
    drawn = Image.open(io.BytesIO(png)).convert("RGBA")
    square = Image.new("RGBA", (size, size), (255, 255, 255, 0))
    square.paste(drawn, ((size - drawn.width) // 2, (size - drawn.height) // 2))
    return np.array(square)


def choose_drawings(
    codes: dict[str, AbstractSet[str]], labels: Sequence[tuple[str, str]], *, count: int | None, seed: int,
) -> list[Drawing]:
    """The first ``count`` drawings of an endless fair deal: styles take turns, subjects come from a shuffled deck.

    ``codes`` are the code points that each set can draw, ``labels`` the (set, style) pairs. No drawing comes twice.
    SourceError where there are fewer than ``count``; all there are, where it is None.
    """
    if count is None:
        return [Drawing(name, style, code) for name, style in labels for code in sorted(codes[name])]
    available = sum(len(codes[name]) for name, _ in labels)
    if count > available:
        raise SourceError(f"emoji: {count} images wanted, and there are {available} in {len(labels)} styles")
    turns = sorted(labels, key=lambda label: seeds.digest(seed, "emoji turn", *label))
    left = {label: set(codes[label[0]]) for label in turns}
    drawings: list[Drawing] = []
    deck: list[str] = []
    cycles = itertools.count()
    for label in itertools.cycle(turns):
        if len(drawings) == count:
            break
        if not left[label]:
            continue
        at = next((i for i, code in enumerate(deck) if code in left[label]), None)
        if at is None:
            at = len(deck)
            deck += _shuffled(set().union(*codes.values()), seed, next(cycles))
            at = next(i for i in range(at, len(deck)) if deck[i] in left[label])
        code = deck.pop(at)
        left[label].remove(code)
        drawings.append(Drawing(*label, code))
    return drawings


def _shuffled(codes: AbstractSet[str], seed: int, cycle: int) -> list[str]:
    return sorted(codes, key=lambda code: seeds.digest(seed, "emoji deck", cycle, code))
