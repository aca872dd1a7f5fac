"""The rules of a run and what the score columns in them mean: which direction is good, and which scorer gave them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import pandas as pd

from curate.config import parse
from curate.interfaces import PAIRS
from curate.report.units import UnitTable, newest_scores
from curate.seal import NearDuplicateConfig
from curate.store import RunStore

GOOD: Mapping[tuple[bool, str], Literal["low", "high"]] = {
    (True, "content_stylized"): "low", (True, "style_stylized"): "high",
    (False, "content_stylized"): "high", (False, "style_stylized"): "low"}
"""(style similarity?, pair) -> what a good triplet has: the score matrix."""


def rules_of(units: UnitTable, store: RunStore) -> list[dict[str, Any]]:
    """The rules that sealed the run; of an unsealed one those of its config. Rules without a column here are left out.
    """
    said = (units.dataset or store.info.get("config") or {}).get("rules") or []
    return [dict(rule) for rule in said if rule["column"] in units.scores]


def near_duplicates(units: UnitTable, store: RunStore) -> NearDuplicateConfig | None:
    """The setting that near-duplicates are looked for by; None if they are not. Raises ConfigError."""
    near = (units.dataset or store.info.get("config") or {}).get("near_duplicates")
    return None if near is None else parse(NearDuplicateConfig, near, file=store.root)


def good_direction(column: str) -> Literal["low", "high", ""]:
    """``csd.style.content_stylized`` -> low: a content reference that still carries the style is bad."""
    prefix, _, pair = column.rpartition(".")
    return GOOD.get((prefix.rpartition(".")[2] == "style", pair), "") if pair in PAIRS else ""


def columns_by_scorer(units: UnitTable, store: RunStore) -> dict[str, list[str]]:
    """Scorer -> its columns, in the order of the scorers: by its segments, else by the first part of the names."""
    sealed = (units.dataset or {}).get("scorers")
    known = [(s["name"], s["fingerprint"]) for s in sealed] if sealed is not None else newest_scores(store.paths)
    found = {name: store.score_columns(name, fingerprint) for name, fingerprint in known}
    owned = {column for columns in found.values() for column in columns}
    return {name: [c for c in units.scores if c in columns or (c not in owned and c.partition(".")[0] == name)]
            for name, columns in found.items()}


def is_float(units: UnitTable, column: str) -> bool:
    """Whether a score column holds float32 numbers (else whole ones: hashes, counts)."""
    return pd.api.types.is_float_dtype(units.frame[column].dtype)
