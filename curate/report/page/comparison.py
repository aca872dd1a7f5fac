"""``curate report A B``: two runs side by side."""

from __future__ import annotations

from pathlib import Path

from curate.files import write_atomic
from curate.report.page.differences import config_differences, config_in_force
from curate.report.page.gallery import pictures
from curate.report.page.html import page
from curate.report.page.shifts import flipped, score_shifts, transitions, yield_shifts
from curate.report.page.sources import source_yields
from curate.report.stats import collect
from curate.report.units import STATUSES, read_units
from curate.store import RunStore

MAX_FLIPS = 24
DIMENSIONS = ("style", "source", "layout", "recipe")


def write_comparison(run: Path, other: Path, out: Path) -> None:
    """Write the page. Raises StoreError when one of them is no run directory, or a file is damaged."""
    tables = [read_units(folder) for folder in (run, other)]
    stores = [RunStore.open(folder, sweep=False) for folder in (run, other)]
    stats = [collect(folder, units) for folder, units in zip((run, other), tables, strict=True)]
    for one, units, store in zip(stats, tables, stores, strict=True):
        one["yield"]["source"] = source_yields(units.frame, store)
    moved = transitions(*tables)
    seen = [status for status in STATUSES if moved.loc[status].sum() + moved[status].sum()]
    reasons = [{row["reason"]: row["units"] for row in one["reasons"] if row["status"] == "rejected"} for one in stats]
    flips = pictures(stores[1], tables[1], flipped(*tables)[:MAX_FLIPS])
    before = tables[0].frame.set_index("unit_id")
    for triplet in flips:
        was = before.loc[triplet["id"]]
        triplet |= {"was": str(was["status"]), "was_reason": str(was["reason"]),
                    "now": str(tables[1].frame["status"].iloc[triplet["position"]])}
    shifts = score_shifts(*tables)
    moving = [shift for shift in shifts if shift["shares"][0] != shift["shares"][1]]
    html = page(
        "comparison.html.j2", ("comparison.js",), {"shifts": moving},
        title=f"{stats[0]['run']} / {stats[1]['run']}", stats=stats, folders=[str(run), str(other)],
        differences=config_differences(*(config_in_force(u, s) for u, s in zip(tables, stores, strict=True))),
        reasons=[(name, *(own.get(name, 0) for own in reasons)) for name in dict.fromkeys([*reasons[0], *reasons[1]])],
        yields={name: yield_shifts(*(one["yield"][name] for one in stats)) for name in DIMENSIONS},
        statuses=seen, moved=moved.loc[seen, seen].to_dict("index"), common=int(moved.to_numpy().sum()),
        flips=flips, moving=len(moving), still=[shift["label"] for shift in shifts if shift not in moving])
    write_atomic(out, html.encode())
