"""From scores to a status for every planned unit: kept, rejected, failed or pending, each with its reason.

Order: no images (pending or failed), a rule broken by a known number, scores still to come (pending), missing numbers,
near-duplicates within a side, leaks across the sides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from curate.errors import ConfigError, StoreError
from curate.records import Unit
from curate.seal.near_duplicates import NearDuplicateConfig, near_duplicates
from curate.seal.rules import RuleConfig, broken_units, decide
from curate.seal.split import LEAK, leaking_units, target_source
from curate.store import RunStore

STATUSES = ("kept", "rejected", "failed", "pending")
RULES, DUPLICATES, SPLIT = "rules", "near_duplicates", "split"
"""Stages of a rejection, as they stand in the index."""
TWIN = "near duplicate of "


@dataclass(frozen=True, slots=True)
class ScoreTable:
    """All scores of the planned units."""

    frame: pd.DataFrame
    """Indexed by unit_id in plan order; float32 and Int64 columns."""
    owners: dict[str, str]
    """Column -> the scorer that gave it."""
    seen: dict[str, set[str]]
    """Scorer -> units it has numbers or an error for."""
    errors: dict[str, dict[str, str]]
    """Scorer -> unit_id -> error."""


def gather_scores(store: RunStore, unit_ids: Sequence[str], scorers: Sequence[tuple[str, str]]) -> ScoreTable:
    """The scores of ``scorers`` (name, fingerprint) side by side. StoreError when two give the same column."""
    parts: list[pd.DataFrame] = []
    owners: dict[str, str] = {}
    seen: dict[str, set[str]] = {}
    errors: dict[str, dict[str, str]] = {}
    for name, fingerprint in scorers:
        scores = store.scores(name, fingerprint)
        seen[name] = set(scores.index)
        errors[name] = {str(k): str(v) for k, v in scores["error"][scores["error"] != ""].items()}
        part = scores.drop(columns="error").reindex(list(unit_ids))
        for column in part.columns:
            if column in owners:
                raise StoreError(f"scorers {owners[column]} and {name} both give {column}; seal with one of them")
            owners[str(column)] = name
        parts.append(part)
    frame = pd.concat(parts, axis=1) if parts else pd.DataFrame(index=pd.Index(list(unit_ids)))
    return ScoreTable(frame=frame, owners=owners, seen=seen, errors=errors)


def judge(units: Sequence[Unit], ledger: pd.DataFrame, scores: ScoreTable, rules: Sequence[RuleConfig],
          duplicates: NearDuplicateConfig | None) -> pd.DataFrame:
    """``status``, ``stage`` and ``reason`` of every unit, indexed by unit_id in plan order."""
    found = {unit.unit_id: ("pending", "candidates", "not made yet") for unit in units}
    committed = ledger[["status", "stage", "reason"]]
    for row in committed.loc[committed.index.isin(list(found))].itertuples():
        failed = ("failed", str(row.stage), str(row.reason))
        found[str(row.Index)] = failed if row.status == "failed" else ("kept", "", "")
    made = [unit for unit in units if found[unit.unit_id][0] == "kept"]
    found.update(_judge_scores(made, scores, rules))
    if duplicates is not None:
        kept = [unit for unit in made if found[unit.unit_id][0] == "kept"]
        bits = _hashes(scores, kept, duplicates.column)
        found.update({unit.unit_id: ("rejected", DUPLICATES, f"{duplicates.column} missing")
                      for unit in kept if unit.unit_id not in bits})
        for side in ("train", "val"):  # apart, so that no train unit gives way to a val unit
            hashed = [unit for unit in kept if unit.side == side and unit.unit_id in bits]
            twins = near_duplicates([u.unit_id for u in hashed], [bits[u.unit_id] for u in hashed],
                                    [target_source(u) for u in hashed], max_distance=duplicates.max_distance)
            found.update({u: ("rejected", DUPLICATES, TWIN + other) for u, other in twins.items()})
    kept = [unit for unit in made if found[unit.unit_id][0] == "kept"]
    leaks = leaking_units(kept, bits if duplicates else {}, max_distance=duplicates.max_distance if duplicates else 0)
    found.update(dict.fromkeys(leaks, ("rejected", SPLIT, LEAK)))
    return pd.DataFrame.from_dict(found, orient="index", columns=["status", "stage", "reason"])


def _judge_scores(made: Sequence[Unit], scores: ScoreTable, rules: Sequence[RuleConfig],
                  ) -> dict[str, tuple[str, str, str]]:
    ids = [unit.unit_id for unit in made]
    frame = scores.frame.loc[ids].assign(layout=[unit.layout for unit in made])
    broken = broken_units(frame, rules)
    table = decide(frame, rules).table
    found: dict[str, tuple[str, str, str]] = {}
    for unit_id, verdict, reason, column in zip(ids, table["verdict"], table["reason"], table["column"], strict=True):
        unseen = [name for name, seen in scores.seen.items() if unit_id not in seen]
        if unit_id in broken:
            found[unit_id] = ("rejected", RULES, reason)
        elif unseen:
            found[unit_id] = ("pending", unseen[0], f"not scored by {unseen[0]}")
        elif verdict == "failed":
            owner = scores.owners.get(column, "score")
            told = scores.errors.get(owner, {}).get(unit_id, reason)
            found[unit_id] = ("failed", owner, told.partition("\n")[0])  # the rest stands in the column errors
        elif verdict == "rejected":
            found[unit_id] = ("rejected", RULES, reason)
    return found


def _hashes(scores: ScoreTable, kept: Sequence[Unit], column: str) -> dict[str, int]:
    if column not in scores.frame.columns:
        return {}
    values = scores.frame[column].loc[[unit.unit_id for unit in kept]].dropna()
    return {str(unit_id): int(value) for unit_id, value in values.items()}


def check_columns(scores: ScoreTable, rules: Sequence[RuleConfig], duplicates: NearDuplicateConfig | None) -> None:
    """ConfigError when a rule asks for a column that no scorer gives: it would reject every unit as missing.

    Not checked while some scorer has given no numbers at all: its columns are not known yet.
    """
    if set(scores.owners.values()) != set(scores.seen):
        return
    wanted = [("rules", rule.column) for rule in rules]
    wanted += [("near_duplicates", duplicates.column)] if duplicates else []
    for key, column in wanted:
        if column not in scores.owners:
            there = ", ".join(sorted(scores.owners)) or "none"
            raise ConfigError(f"no scorer of this run gives {column!r}; there are: {there}", key=key)


def count_by(table: pd.DataFrame, status: str) -> dict[str, int]:
    """Units of a status by reason, most first. Near-duplicates are counted together, failures with their stage."""
    rows = table[table["status"] == status]
    counts: Counter[str] = Counter()
    for stage, reason in zip(rows["stage"], rows["reason"], strict=True):
        twin = stage == DUPLICATES and reason.startswith(TWIN)
        counts[TWIN.removesuffix(" of ") if twin else f"{stage}: {reason}" if status == "failed" else reason] += 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
