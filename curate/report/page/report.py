"""``curate report RUN``: everything about one run on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from curate.files import write_atomic
from curate.report.page.columns import is_left_out, pack
from curate.report.page.gallery import choose, pictures
from curate.report.page.html import page
from curate.report.page.matrix import score_matrix
from curate.report.page.notes import notes
from curate.report.page.rules import rules_of
from curate.report.page.sources import source_yields
from curate.report.stats import collect
from curate.report.units import UnitTable, read_units
from curate.store import RunStore

SCRIPTS = ("columns.js", "later.js", "rules.js", "histogram.js", "thresholds.js", "gallery.js", "scores.js", "start.js")


def write_report(run: Path, out: Path) -> None:
    """Write the page. Raises StoreError when ``run`` is no run directory, or a file of it is damaged."""
    units = read_units(run)
    store = RunStore.open(run, sweep=False)
    stats = collect(run, units)
    stats["yield"]["source"] = source_yields(units.frame, store)
    rules = rules_of(units, store)
    shown = pictures(store, units, choose(units, rules))
    known = {status: stats["funnel"][status] for status in ("kept", "rejected", "failed", "pending")}
    data = {"rules": rules, "gallery": shown, "known": known if stats["sealed"] else None,
            "reasons": {f"{row['status']}\n{row['reason']}": row["units"] for row in stats["reasons"]},
            "units": pack(units, store, rules, [triplet["position"] for triplet in shown])}
    html = page("report.html.j2", SCRIPTS, data, stats=stats, notes=notes(stats, rules),
                matrix=score_matrix(stats["scores"]), card=_card(store), duplicates=_duplicates(units),
                pictures=len(shown), title=stats["run"], place=str(run), selection=bool(is_left_out(units.frame).any()))
    write_atomic(out, html.encode())


def _card(store: RunStore) -> str:
    path = store.paths.shards / "README.md"
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _duplicates(units: UnitTable) -> dict[str, Any]:
    """How many were rejected as near-duplicates, and as leaks between the splits."""
    stages = units.frame["stage"].value_counts()
    return {"near": int(stages.get("near_duplicates", 0)), "split": int(stages.get("split", 0)),
            "searched": bool((units.dataset or {}).get("near_duplicates"))}
