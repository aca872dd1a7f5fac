"""curate whatif: what other rules would keep, from the index of a sealed dataset alone; nothing is written."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from curate.dataset import SealedFolder
from curate.errors import ConfigError
from curate.seal import Judge, indexed_facts
from curate.steer.variants import variants


class Outcome(NamedTuple):
    """Units under one rule set. planned = kept + rejected + failed + pending."""

    name: str
    kept: int
    gained: int
    """Kept here and not by the sealed rules."""
    lost: int
    """The reverse."""
    rejected: int
    failed: int
    pending: int
    val: int
    """Of the kept, on the val side."""

    @property
    def share(self) -> float:
        """kept / (kept + rejected + failed), NaN when nothing is decided."""
        decided = self.kept + self.rejected + self.failed
        return self.kept / decided if decided else float("nan")


def try_rules(path: Path, file: Path | None = None, overrides: tuple[str, ...] = ()) -> list[Outcome]:
    """Outcomes of the sealed rules and of each variant (see ``variants``), exactly as ``seal`` would decide.

    ``path``: a run directory or a sealed folder. Scores made since the last seal are not seen. Raises StoreError when
    nothing is sealed, ConfigError for rules that cannot be.
    """
    sealed = SealedFolder(path)
    if sealed.dataset.get("rules_differ"):
        raise ConfigError(f"{path}: merged from datasets of different rules; ask of each of them")
    tried = variants(sealed.dataset, file, overrides)
    columns = set[str]().union(*(variant.rules.columns for variant in tried))
    always = [rule for rule in tried[0].rules.rules if all(rule in variant.rules.rules for variant in tried)]
    judge = Judge(indexed_facts(sealed.folder, sealed.dataset, sorted(columns)), always=always)
    found: list[Outcome] = []
    base = np.zeros(0, dtype=bool)
    for variant in tried:
        judged = judge(variant.rules.rules, variant.rules.near_duplicates)
        kept, counts = judged.kept, judged.counts()
        base = base if found else kept
        by_status = {status: sum(n for verdict, n in counts.items() if verdict.status == status)
                     for status in ("kept", "rejected", "failed", "pending")}
        found.append(Outcome(variant.name, **by_status, gained=int((kept & ~base).sum()),
                             lost=int((base & ~kept).sum()), val=int((kept & judge.facts.val).sum())))
    return found


def show_whatif(path: Path, file: Path | None, overrides: tuple[str, ...]) -> None:
    """Print the table; statuses that no variant has are left out."""
    found = try_rules(path, file, overrides)
    rest = [status for status in ("rejected", "failed", "pending") if any(getattr(one, status) for one in found)]
    table = Table(box=None, pad_edge=False)
    for name in ("kept", "yield", "gained", "lost", *rest, "of val"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("rules", overflow="fold")
    for one in found:
        flips = (f"+{one.gained:,}" if one.gained else "", f"-{one.lost:,}" if one.lost else "")
        table.add_row(f"{one.kept:,}", f"{one.share:.1%}", *flips, *(f"{getattr(one, status):,}" for status in rest),
                      f"{one.val:,}", escape(one.name))
    console = Console()
    console.print(table)
    if "pending" in rest:
        console.print("pending: a scorer has not seen them (a cascade spares it what a rule broke already); with these "
                      "rules in its config `curate run` scores them", markup=False)
