"""Draws one triplet as a card: three pictures side by side and, below them, what the pipeline says about them.

Small pictures are enlarged by whole factors without smoothing (a 64 px image at 128 px shows its own pixels); large
ones are reduced smoothly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from PIL import Image, ImageDraw, ImageOps

from curate.interfaces import ROLES, Role
from curate.report.lettering import font, shorten

PICTURE_PX = 128
GAP_PX = 6
PAD_PX = 10
WIDTH_PX = 2 * PAD_PX + 3 * PICTURE_PX + 2 * GAP_PX
NUM_SCORES = 6
LINE_PX = 16
PICTURE_TOP_PX = 24
TEXT_TOP_PX = PICTURE_TOP_PX + PICTURE_PX + 8

PAPER, CARD, EDGE = "#eef0f3", "#ffffff", "#d5d9e0"
INK, FAINT, FRAME = "#1c2330", "#5d6677", "#f4f5f7"
VERDICT_INK: Mapping[str, str] = {"kept": "#1a7f45", "rejected": "#c0362c", "failed": "#8a5a00"}
VERDICT_FILL: Mapping[str, str] = {"kept": "#e2f4e8", "rejected": "#fbe6e4", "failed": "#fdf1d8"}


@dataclass(frozen=True, slots=True)
class Card:
    """What one card shows. A picture that is absent is drawn as an empty frame."""

    unit_id: str
    style: str
    caption: str
    verdict: str
    """kept, rejected, failed, or made (not sealed yet)."""
    reason: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)
    """Short label -> number; at most ``NUM_SCORES`` are drawn, two a line."""
    deciding: str = ""
    """Label of the score that decided: drawn in the verdict's colour."""
    pictures: Mapping[Role, Image.Image] = field(default_factory=dict)


def draw_card(card: Card) -> Image.Image:
    """RGB, ``WIDTH_PX`` x ``height_px(len(card.scores))``."""
    sheet = Image.new("RGB", (WIDTH_PX, height_px(len(card.scores))), CARD)
    draw = ImageDraw.Draw(sheet)
    draw.rectangle((0, 0, sheet.width - 1, sheet.height - 1), outline=EDGE)
    draw.rectangle((0, 0, 3, sheet.height - 1), fill=VERDICT_INK.get(card.verdict, FAINT))
    for i, role in enumerate(ROLES):
        x = PAD_PX + i * (PICTURE_PX + GAP_PX)
        draw.text((x, 7), role, fill=FAINT, font=font(12))
        sheet.paste(_framed(card.pictures.get(role)), (x - 1, PICTURE_TOP_PX - 1))
    _draw_title(draw, card)
    _draw_scores(draw, card)
    _draw_verdict(draw, card, top=sheet.height - PAD_PX - LINE_PX)
    return sheet


def height_px(num_scores: int) -> int:
    """Height of a card with so many scores: cards of one sheet share it."""
    return TEXT_TOP_PX + 2 * LINE_PX + (min(num_scores, NUM_SCORES) + 1) // 2 * LINE_PX + 4 + LINE_PX + PAD_PX


def fit(picture: Image.Image, size_px: int) -> Image.Image:
    """The picture inside a square of ``size_px``, its proportions kept: whole-number enlargement, smooth reduction."""
    picture = picture.convert("RGB")
    longest = max(picture.size)
    if longest <= size_px:
        factor = size_px // longest
        return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    scale = size_px / longest
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.LANCZOS)


def _framed(picture: Image.Image | None) -> Image.Image:
    frame = Image.new("RGB", (PICTURE_PX, PICTURE_PX), FRAME)
    if picture is None:
        middle = (PICTURE_PX // 2, PICTURE_PX // 2)
        ImageDraw.Draw(frame).text(middle, "no image", fill=FAINT, font=font(12), anchor="mm")
    else:
        small = fit(picture, PICTURE_PX)
        frame.paste(small, ((PICTURE_PX - small.width) // 2, (PICTURE_PX - small.height) // 2))
    return ImageOps.expand(frame, 1, EDGE)  # white pictures would have no border on a white card


def _draw_title(draw: ImageDraw.ImageDraw, card: Card) -> None:
    """Line one: id and style label; line two: the caption."""
    inner_px = WIDTH_PX - 2 * PAD_PX
    unit, style = card.unit_id[:10], shorten(card.style or "no style label", inner_px * 0.6, font(13))
    draw.text((PAD_PX, TEXT_TOP_PX), unit, fill=INK, font=font(13))
    draw.text((WIDTH_PX - PAD_PX, TEXT_TOP_PX), style, fill=INK, font=font(13), anchor="ra")
    draw.text((PAD_PX, TEXT_TOP_PX + LINE_PX), shorten(card.caption, inner_px, font(12)), fill=FAINT, font=font(12))


def _draw_scores(draw: ImageDraw.ImageDraw, card: Card) -> None:
    """Two columns of ``label  0.00``, the numbers in a column of their own."""
    column_px = (WIDTH_PX - 2 * PAD_PX - 14) // 2
    for i, (label, number) in enumerate(list(card.scores.items())[:NUM_SCORES]):
        inks = (VERDICT_INK.get(card.verdict, INK),) * 2 if label == card.deciding else (FAINT, INK)
        x, y = PAD_PX + i % 2 * (column_px + 14), TEXT_TOP_PX + (2 + i // 2) * LINE_PX + 2
        shown = "n/a" if number != number else f"{number:.3g}" if abs(number) >= 100 else f"{number:.2f}"
        draw.text((x, y), shorten(label, column_px - 32, font(11)), fill=inks[0], font=font(11))
        draw.text((x + column_px, y), shown, fill=inks[1], font=font(12), anchor="ra")


def _draw_verdict(draw: ImageDraw.ImageDraw, card: Card, *, top: int) -> None:
    """A coloured label, and the reason beside it."""
    label_px = font(12).getlength(card.verdict) + 12
    ink = VERDICT_INK.get(card.verdict, FAINT)
    draw.rectangle((PAD_PX, top - 1, PAD_PX + label_px, top + LINE_PX), fill=VERDICT_FILL.get(card.verdict, FRAME))
    draw.text((PAD_PX + 6, top + 1), card.verdict, fill=ink, font=font(12))
    room_px = WIDTH_PX - 2 * PAD_PX - label_px - 8
    draw.text((PAD_PX + label_px + 8, top + 1), shorten(card.reason, room_px, font(12)), fill=ink, font=font(12))
