"""What a plan is, in words."""

from __future__ import annotations

from collections.abc import Iterator

from curate.progress import count
from curate.run.planning import Plan
from curate.sources import ScanReport


def describe(plan: Plan) -> str:
    """One line about the plan, and one for each thing about the sources that may not be meant so."""
    sources = ", ".join(f"{name} {count(scan.found, 'image')}"
                        + (f" ({_left_out(scan)})" if scan.duplicates else "")
                        for name, scan in plan.scans.items())
    told = "".join(f"\n{line}" for name, scan in plan.scans.items() for line in _gaps(name, scan))
    return f"planned {count(len(plan.units), 'unit')} of {count(plan.units.num_styles, 'style')} from {sources}{told}"


def _gaps(name: str, scan: ScanReport) -> Iterator[str]:
    """How many images of a source are labelled, where some are not, and what its scan noticed. Plain images have no
    style to be named."""
    labels = {"captions": scan.captions, "subjects": scan.subjects}
    if name not in ("subjects", "contents"):
        labels["styles"] = scan.styles
    if any(n < scan.items for n in labels.values()):
        told = ", ".join(f"{label} {n:,} of {scan.items:,}" for label, n in labels.items())
        yield f"sources.{name}: {told}"
    yield from (f"sources.{name}: {notice}" for notice in scan.notices)


def _left_out(scan: ScanReport) -> str:
    more = scan.duplicates - len(scan.left_out)
    named = ", ".join(scan.left_out) + (f" and {more} more" if more else "")
    return f"{count(scan.duplicates, 'duplicate')} left out: {named}"
