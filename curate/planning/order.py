"""The order of the plan: every stretch of it, the beginning above all, has its share of every style."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from curate import seeds
from curate.records import Unit


def interleave(units: Sequence[Unit], *, seed: int) -> list[Unit]:
    """Units by their relative place within their style: the first tenth of the plan has a tenth of each style.

    Within a style the order is a hash of the unit id, so targets, layouts and sides are mixed too.
    """
    groups: defaultdict[str, list[Unit]] = defaultdict(list)
    for unit in sorted(units, key=lambda unit: seeds.digest(seed, "order", unit.unit_id)):
        groups[unit.style].append(unit)
    placed = [((rank + 0.5) / len(group), seeds.digest(seed, "style", style), unit)
              for style, group in groups.items() for rank, unit in enumerate(group)]
    return [unit for _, _, unit in sorted(placed, key=lambda entry: entry[:2])]
