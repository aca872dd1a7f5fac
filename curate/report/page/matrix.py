"""The score matrix: style and content similarity of the three pairs of a triplet, as medians of kept and rejected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curate.interfaces import PAIRS
from curate.report.page.rules import good_direction


def score_matrix(scores: Mapping[str, Mapping[str, Mapping[str, float]]]) -> list[dict[str, Any]]:
    """Rows ``{name, cells: [{good, kept, rejected}]}``, a cell a pair (null where it was not measured).

    ``scores``: those of ``collect``. Measures with fewer than two pairs are no matrix and are left out.
    """
    rows = []
    for prefix in dict.fromkeys(column.rpartition(".")[0] for column in scores):
        cells = [_cell(f"{prefix}.{pair}", scores) for pair in PAIRS]
        if sum(cell is not None for cell in cells) > 1:
            rows.append({"name": prefix, "cells": cells})
    return rows


def _cell(column: str, scores: Mapping[str, Mapping[str, Mapping[str, float]]]) -> dict[str, Any] | None:
    if column not in scores:
        return None
    return {"good": good_direction(column),
            **{status: scores[column].get(status, {}).get("p50") for status in ("kept", "rejected")}}
