"""``curate stats``, ``curate report`` and ``curate verify``: look at a run without changing what it made."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console

from curate.files import write_json
from curate.report import REPORT, collect, contact_sheet, render
from curate.report.page import write_comparison, write_report
from curate.seal import verify


def show_stats(run: Path, *, as_json: bool) -> None:
    """Print the statistics of a run; write report/stats.json and report/contact_sheet.png."""
    stats = collect(run)
    write_json(run / "report" / "stats.json", stats)
    sheet = run / "report" / "contact_sheet.png"
    contact_sheet(run, sheet)
    if as_json:
        print(json.dumps(stats, indent=1, sort_keys=True))
        return
    console = Console()
    console.print(render(stats))
    console.print(f"contact sheet: {sheet}", markup=False, highlight=False, soft_wrap=True)


def show_report(run: Path, other: Path | None) -> None:
    """Write report/index.html of a run, or report/beside-<run>.html of ``other``; print where it is."""
    if other is None:
        page = run / REPORT
        write_report(run, page)
    else:
        page = other / "report" / f"beside-{run.resolve().name}.html"
        write_comparison(run, other, page)
    print(page)


def show_faults(run: Path, *, deep: bool) -> int:
    """Print the faults of a run's shards; 1 if there are any."""
    faults = verify(run, deep=deep)
    for fault in faults:
        print(fault)
    if not faults:
        print(f"{run}: no faults")
    return 1 if faults else 0
