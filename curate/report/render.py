"""Statistics as tables for a terminal: the part of the JSON that fits on a screen or two."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from curate.progress import duration

BAR_CELLS = 30
MAX_ROWS = 15
"""Of a table of reasons or yields; stats.json has all of them."""
COLOURS = {"kept": "green", "rejected": "red", "failed": "yellow", "pending": "dim", "undecided": "cyan"}


def render(stats: Mapping[str, Any]) -> RenderableType:
    """Tables of what ``collect`` returned; print it with a rich console (which drops colours in a pipe)."""
    parts = [_funnel(stats), _reasons(stats["reasons"]), _scores(stats["scores"]),
             *(_yields(name, rows) for name, rows in stats["yield"].items() if _worth_showing(name, rows)),
             _stages(stats["stages"], stats["cost"]), _shards(stats["splits"]), _licences(stats["licences"])]
    return Group(*(part for table in parts if table is not None for part in (table, Text(""))))


def _funnel(stats: Mapping[str, Any]) -> Table:
    funnel, planned = stats["funnel"], stats["funnel"]["planned"]
    table = _table(f"{stats['run']}{'' if stats['sealed'] else ' (not sealed)'}", ["", "units", "", ""], left=(0, 3))
    rows = [("planned", planned), ("made", funnel["made"]),
            *((f"scored by {name}", n) for name, n in funnel["scored"].items()),
            *((status, funnel[status]) for status in COLOURS if funnel[status] or status in ("kept", "failed"))]
    for name, n in rows:
        share = n / planned if planned else 0.0
        bar = Text("█" * round(BAR_CELLS * share), style=COLOURS.get(name, "blue"))
        table.add_row(name, f"{n:,}", f"{share:.1%}", bar)
    for scorer, n in stats["errors"].items():
        table.add_row(f"{scorer}: errors", f"{n:,}", "", "")
    if stats["made_since_seal"]:
        table.caption = Text(f"{stats['made_since_seal']:,} more were made since: seal again to judge them")
        table.caption_justify = "left"
    return table


def _reasons(reasons: Sequence[Mapping[str, Any]]) -> Table | None:
    if not reasons:
        return None
    table = _table("reasons", ["status", "stage", "reason", "units"], left=(0, 1, 2))
    for row in reasons[:MAX_ROWS]:
        table.add_row(Text(row["status"], style=COLOURS[row["status"]]), row["stage"], Text(row["reason"]),
                      f"{row['units']:,}")
    return _with_rest(table, len(reasons))


def _scores(scores: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Table | None:
    if not scores:
        return None
    table = _table("scores", ["column", "of", "n", "p5", "p25", "p50", "p75", "p95"], left=(0, 1))
    for column, groups in scores.items():
        for i, (status, q) in enumerate(groups.items()):
            table.add_row(column if i == 0 else "", Text(status, style=COLOURS[status]), f"{q['n']:,}",
                          *(f"{q[f'p{p}']:.3f}" for p in (5, 25, 50, 75, 95)))
    return table


def _worth_showing(name: str, rows: Mapping[str, Any]) -> bool:
    """A table of one row repeats the funnel, unless it says which expert made all."""
    return len(rows) > 1 or (name == "expert" and bool(rows))


def _yields(name: str, rows: Mapping[str, Mapping[str, Any]]) -> Table:
    statuses = [status for status in COLOURS if any(row[status] for row in rows.values())]
    shown, order = list(rows.items()), ""
    if len(rows) > MAX_ROWS and any(row["yield"] is not None for row in rows.values()):
        shown.sort(key=lambda item: (item[1]["yield"] is None, item[1]["yield"] or 0.0, -item[1]["planned"]))
        order = ", lowest first"
    table = _table(f"yield by {name}{order}", [name, "planned", *statuses, "yield"], left=(0,))
    for label, row in shown[:MAX_ROWS]:
        share = "-" if row["yield"] is None else f"{row['yield']:.1%}"
        table.add_row(Text(label), f"{row['planned']:,}", *(f"{row[status]:,}" for status in statuses), share)
    return _with_rest(table, len(rows))


def _stages(stages: Mapping[str, Mapping[str, Any]], cost: Mapping[str, Any]) -> Table | None:
    if not stages:
        return None
    table = _table("time in workers", ["stage", "images", "time", "images/s", "GPU time"], left=(0,))
    for stage, row in stages.items():
        rate = "-" if row["images_per_second"] is None else f"{row['images_per_second']:.2f}"
        table.add_row(stage, f"{row['units']:,}", duration(row["seconds"]), rate, _gpu_time(row["gpu_seconds"]))
    table.add_row("all", "", duration(cost["worker_seconds"]), "", _gpu_time(cost["gpu_seconds"]))
    if cost["worker_seconds_per_kept"] is not None:
        gpu_s = cost["gpu_seconds_per_kept"]
        table.add_row("per kept triplet", "", f"{cost['worker_seconds_per_kept']:.2f} s", "",
                      f"{gpu_s:.2f} s" if gpu_s else "-")
    return table


def _gpu_time(seconds: float | None) -> str:
    return duration(seconds) if seconds else "-"


def _shards(splits: Mapping[str, Mapping[str, int]]) -> Table | None:
    if not splits:
        return None
    table = _table("shards", ["split", "shards", "samples", "size"], left=(0,))
    for split, row in splits.items():
        table.add_row(split, f"{row['shards']:,}", f"{row['samples']:,}", size(row["bytes"]))
    return table


def _licences(licences: Mapping[str, Mapping[str, int]]) -> Table | None:
    if not licences:
        return None
    table = _table("licences of input images", ["licence", "planned", "kept"], left=(0,))
    for licence, row in licences.items():
        table.add_row(Text(licence), f"{row['planned']:,}", f"{row['kept']:,}")
    return table


def size(num_bytes: float) -> str:
    """``812 B``, ``3.4 MB``, ``1.2 GB`` (powers of 1000)."""
    for unit in ("B", "kB", "MB", "GB"):
        if num_bytes < 1000:
            return f"{num_bytes:.0f} B" if unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.1f} TB"


def _table(title: str, headers: Iterable[str], *, left: Sequence[int]) -> Table:
    table = Table(title=Text(title, style="bold"), title_justify="left", box=None, pad_edge=False,
                  header_style="dim")
    for i, header in enumerate(headers):
        table.add_column(header, justify="left" if i in left else "right", overflow="fold")
    return table


def _with_rest(table: Table, num_rows: int) -> Table:
    if num_rows > MAX_ROWS:
        table.caption = Text(f"and {num_rows - MAX_ROWS} more: report/stats.json", style="dim")
        table.caption_justify = "left"
    return table
