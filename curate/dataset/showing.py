"""Some triplets on one picture, as the cards of the contact sheet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from PIL import Image

from curate.report.card import GAP_PX, NUM_SCORES, PAPER, WIDTH_PX, Card, draw_card, height_px
from curate.report.contact_sheet import score_label


class Shown(Protocol):
    """What a card needs of a triplet."""

    @property
    def unit_id(self) -> str: ...
    @property
    def content(self) -> Image.Image: ...
    @property
    def style(self) -> Image.Image: ...
    @property
    def stylized(self) -> Image.Image: ...
    @property
    def caption(self) -> str: ...
    @property
    def style_name(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def scores(self) -> Mapping[str, float]: ...


def draw_cards(triplets: Sequence[Shown], *, columns: int, first: Sequence[str] = ()) -> Image.Image:
    """RGB, cards in rows of ``columns``. ``first``: the score columns that are shown before the others."""
    names = [name for name in dict.fromkeys([*first, *(triplets[0].scores if triplets else ())])
             if triplets and name in triplets[0].scores and not name.endswith(".bits")][:NUM_SCORES]
    columns = max(1, min(columns, len(triplets)))
    rows = -(-len(triplets) // columns)
    height = height_px(len(names))
    sheet = Image.new("RGB", (columns * (WIDTH_PX + GAP_PX) + GAP_PX, rows * (height + GAP_PX) + GAP_PX), PAPER)
    for i, one in enumerate(triplets):
        card = Card(unit_id=one.unit_id, style=one.style_name, caption=one.caption, verdict=one.status,
                    reason=one.reason, scores={score_label(name): one.scores[name] for name in names},
                    pictures={"content": one.content, "style": one.style, "stylized": one.stylized})
        sheet.paste(draw_card(card), (GAP_PX + i % columns * (WIDTH_PX + GAP_PX),
                                      GAP_PX + i // columns * (height + GAP_PX)))
    return sheet
