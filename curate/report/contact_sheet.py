"""A contact sheet: some kept and some rejected triplets on one picture, to see what the rules do.

Which units are shown is a function of the run: spread over styles (and, of the rejected, over reasons first), within
a style in the order of the unit ids, which are hashes. So the same run gives the same sheet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image, ImageDraw

from curate.files import write_atomic
from curate.images import decode, encode
from curate.interfaces import PAIRS, ROLES
from curate.report.card import FAINT, GAP_PX, INK, NUM_SCORES, PAPER, VERDICT_INK, WIDTH_PX, Card, draw_card
from curate.report.card import height_px as card_height_px
from curate.report.lettering import drawable, font
from curate.report.units import UNDECIDED, UnitTable, fold_reasons, read_units
from curate.store import RunStore

MARGIN_PX = 20
BETWEEN_PX = 12
TITLE_PX = 66
SECTION_PX = 34


def contact_sheet(run: Path, out: Path, *, kept: int = 24, rejected: int = 12, columns: int = 3) -> None:
    """Write a PNG of at most ``kept`` and ``rejected`` triplets, ``columns`` of them beside each other.

    A run without shards shows ``kept`` of the triplets made so far. Raises StoreError when a candidate is damaged.
    """
    units = read_units(run)
    shown = main_scores(units)
    groups = {UNDECIDED: kept, "kept": kept, "rejected": rejected}
    picked = {status: _pick(units.frame, status, n) for status, n in groups.items()}
    store = RunStore.open(run, sweep=False)
    images = store.load_images([str(unit_id) for frame in picked.values() for unit_id in frame["unit_id"]])
    columns_of = _deciding_columns(units)
    sections = [(status, _heading(units.frame, status, len(frame)),
                 [_card(row, shown, columns_of, images) for row in _rows(frame)])
                for status, frame in picked.items() if len(frame)]
    write_atomic(out, encode(_draw(_title(run, units), sections, columns=columns, num_scores=len(shown))))


def main_scores(units: UnitTable) -> list[str]:
    """Up to 6 float columns: those that rules judge, in their order, then those of the score matrix, then others."""
    floats = [name for name in units.scores if pd.api.types.is_float_dtype(units.frame[name].dtype)]
    ruled = [rule["column"] for rule in (units.dataset or {}).get("rules", [])]
    matrix = [name for pair in PAIRS for name in floats if name.endswith(f".{pair}")]
    return [name for name in dict.fromkeys([*ruled, *matrix, *floats]) if name in floats][:NUM_SCORES]


def spread(frame: pd.DataFrame, n: int, by: Sequence[str]) -> pd.DataFrame:
    """``n`` rows that take turns over the values of ``by[0]``, and within each over those of ``by[1]``, and so on."""
    frame = frame.sort_values("unit_id", kind="stable")
    for depth in range(len(by), 0, -1):
        turn = frame.groupby(list(by[:depth]), observed=True, sort=False).cumcount()
        frame = frame.loc[turn.sort_values(kind="stable").index]
    return frame.iloc[:n]


def score_label(column: str) -> str:
    """``csd.style.content_stylized`` -> ``csd.style content~stylized``."""
    prefix, _, pair = column.rpartition(".")
    return f"{prefix} {pair.replace('_', '~')}" if pair in PAIRS else column


def _pick(frame: pd.DataFrame, status: str, n: int) -> pd.DataFrame:
    """Rows of a status that have images, in the order in which they are drawn."""
    rows = frame[(frame["status"] == status) & frame["made"]]
    by = ["verdict", "style"] if status == "rejected" else ["style"]
    return spread(rows.assign(verdict=fold_reasons(rows["reason"])), n, by).sort_values([*by, "unit_id"])


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]


def _deciding_columns(units: UnitTable) -> dict[str, str]:
    """Reason in the index -> the column of the rule that gives it, as far as it can be shown."""
    found: dict[str, str] = {}
    for rule in (units.dataset or {}).get("rules", []):
        column = rule["column"]
        if column in units.scores:
            for reason in (rule["reason"], *(f"{column} {what}" for what in ("too low", "too high", "missing"))):
                found.setdefault(reason, column)
    found.pop("", None)
    return found


def _card(row: Mapping[str, Any], shown: Sequence[str], columns_of: Mapping[str, str],
          images: Mapping[str, Mapping[str, bytes]]) -> Card:
    """``shown``: columns of every card; the one that decided takes the last place where it is not among them."""
    own = images.get(row["unit_id"], {})
    deciding = columns_of.get(str(row["reason"]), "")
    scores = shown if not deciding or deciding in shown else [*shown[:NUM_SCORES - 1], deciding]
    return Card(unit_id=row["unit_id"], style=str(row["style"]), caption=str(row["caption"]),
                verdict="made" if row["status"] == UNDECIDED else str(row["status"]), reason=str(row["reason"]),
                scores={score_label(name): float("nan") if pd.isna(row[name]) else float(row[name]) for name in scores},
                deciding=score_label(deciding), pictures={role: decode(own[role]) for role in ROLES if role in own})


def _title(run: Path, units: UnitTable) -> tuple[str, str]:
    counts = units.frame["status"].value_counts()
    said = "   ".join(f"{status} {n:,}" for status, n in counts.items() if n)
    return run.resolve().name, f"planned {len(units.frame):,}   {said}"


def _heading(frame: pd.DataFrame, status: str, num_shown: int) -> str:
    of = frame[frame["status"] == status]
    styles = int(of["style"].nunique())
    name = "Made, not judged yet" if status == UNDECIDED else status.capitalize()
    return f"{name}: {num_shown:,} of {len(of):,}, {styles} style{'' if styles == 1 else 's'}"


def _draw(title: tuple[str, str], sections: Sequence[tuple[str, str, Sequence[Card]]], *, columns: int, num_scores: int,
          ) -> Image.Image:
    card_px = card_height_px(num_scores)
    columns = max(1, min(columns, max((len(cards) for _, _, cards in sections), default=1)))
    rows = [-(-len(cards) // columns) for _, _, cards in sections]
    width = 2 * MARGIN_PX + columns * WIDTH_PX + (columns - 1) * BETWEEN_PX
    height = TITLE_PX + MARGIN_PX + sum(SECTION_PX + n * (card_px + BETWEEN_PX) for n in rows)
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN_PX, 14), drawable(title[0]), fill=INK, font=font(20))
    draw.text((MARGIN_PX, 42), title[1], fill=FAINT, font=font(13))
    top = TITLE_PX
    for (status, heading, cards), num_rows in zip(sections, rows, strict=True):
        draw.text((MARGIN_PX, top + GAP_PX), heading, fill=VERDICT_INK.get(status, INK), font=font(15))
        for i, card in enumerate(cards):
            x = MARGIN_PX + i % columns * (WIDTH_PX + BETWEEN_PX)
            sheet.paste(draw_card(card), (x, top + SECTION_PX + i // columns * (card_px + BETWEEN_PX)))
        top += SECTION_PX + num_rows * (card_px + BETWEEN_PX)
    return sheet
