"""The picture grid: a row an item, columns content, style, then every system."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import zip_longest

from PIL import Image, ImageDraw

from curate.bench.items import TASKS, BenchItem
from curate.bench.making import Outcome
from curate.report.card import CARD, EDGE, FAINT, FRAME, INK, PAPER, fit
from curate.report.lettering import font, shorten
from curate.seeds import digest

PICTURE_PX = 128
GAP_PX = 8
MARGIN_PX = 16
HEAD_PX = 24
TEXT_PX = 18


def draw_grid(outcomes: Mapping[str, Sequence[Outcome]], *, rows: int) -> Image.Image:
    """RGB; ``rows`` items (or all), the tasks sharing them evenly and every row another subject where there are enough.

    ``outcomes``: system -> one outcome an item, all in the same order.
    """
    items = [outcome.item for outcome in next(iter(outcomes.values()))]
    chosen = choose_items(items, rows)
    heads = ["content", "style", *outcomes]
    sheet = Image.new("RGB", (2 * MARGIN_PX + len(heads) * (PICTURE_PX + GAP_PX) - GAP_PX,
                              2 * MARGIN_PX + HEAD_PX + len(chosen) * (PICTURE_PX + TEXT_PX + GAP_PX)), PAPER)
    draw = ImageDraw.Draw(sheet)
    for at, head in enumerate(heads):
        draw.text((_left(at), MARGIN_PX), shorten(head, PICTURE_PX, font(13)), fill=INK, font=font(13))
    of_item = dict(zip(items, zip(*outcomes.values(), strict=True), strict=True))
    for row, item in enumerate(chosen):
        _draw_row(sheet, item, of_item[item], top=MARGIN_PX + HEAD_PX + row * (PICTURE_PX + TEXT_PX + GAP_PX))
    return sheet


def choose_items(items: Sequence[BenchItem], count: int) -> list[BenchItem]:
    """``count`` items: tasks in turn, within a task subjects in turn, within a subject by the hash of the id."""
    queues = [_by_turns([item for item in items if item.task == task]) for task in TASKS]
    shared = [item for turn in zip_longest(*queues) for item in turn if item is not None][:count]
    return sorted(shared, key=lambda item: TASKS.index(item.task))


def _by_turns(items: Sequence[BenchItem]) -> list[BenchItem]:
    """Every subject once, then every subject a second time, and so on."""
    turn: Counter[str] = Counter()
    keyed: list[tuple[int, BenchItem]] = []
    for item in sorted(items, key=lambda each: digest(each.item_id)):
        keyed.append((turn[item.subject], item))
        turn[item.subject] += 1
    return [item for _, item in sorted(keyed, key=lambda entry: entry[0])]


def _draw_row(sheet: Image.Image, item: BenchItem, outcomes: Sequence[Outcome], *, top: int) -> None:
    draw = ImageDraw.Draw(sheet)
    said = f"{item.task}: {item.prompt or 'no prompt'}   {item.item_id}"
    draw.text((MARGIN_PX, top), shorten(said, sheet.width - 2 * MARGIN_PX, font(12)), fill=FAINT, font=font(12))
    pictures = [(item.content, "none"), (item.style, "none"),
                *((outcome.picture, outcome.status) for outcome in outcomes)]
    for at, (picture, instead) in enumerate(pictures):
        place = (_left(at), top + TEXT_PX)
        frame = _framed(picture.open()) if picture else _empty(instead)
        sheet.paste(frame, place)


def _framed(image: Image.Image) -> Image.Image:
    frame = Image.new("RGB", (PICTURE_PX, PICTURE_PX), CARD)
    small = fit(image, PICTURE_PX)
    frame.paste(small, ((PICTURE_PX - small.width) // 2, (PICTURE_PX - small.height) // 2))
    ImageDraw.Draw(frame).rectangle((0, 0, PICTURE_PX - 1, PICTURE_PX - 1), outline=EDGE)
    return frame


def _empty(instead: str) -> Image.Image:
    frame = Image.new("RGB", (PICTURE_PX, PICTURE_PX), FRAME)
    middle = (PICTURE_PX // 2, PICTURE_PX // 2)
    ImageDraw.Draw(frame).text(middle, instead, fill=FAINT, font=font(12), anchor="mm")
    return frame


def _left(column: int) -> int:
    return MARGIN_PX + column * (PICTURE_PX + GAP_PX)
