"""index.parquet: every unit of the plan, whatever became of it. Byte-identical for equal inputs: no times, no paths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import pyarrow as pa

from curate.errors import StoreError
from curate.records import InputRole, Unit
from curate.seal.facts import Facts, ScoreTable
from curate.seal.judge import STATUSES
from curate.seal.split import Keys, keys_of

INPUT_ROLES: tuple[InputRole, ...] = ("stylized", "subject", "content", "style")
TEXT = ("unit_id", "recipe", "layout", "caption", "style_caption", "subject", "style_subject", "style")


def build_index(units: Sequence[Unit], judged: pd.DataFrame, facts: Facts, scores: ScoreTable,
                where: Mapping[str, str]) -> pa.Table:
    """One row a planned unit, in plan order. ``where``: unit_id -> shard of the kept ones.

    ``split`` is the planned side, for rejected units too; ``errors`` tells what scorers said, rules or not. With
    the keys (``split.Keys``), ``unscored_by`` and ``selected`` it holds all that the verdicts depend on, so that other
    rules can be tried on it alone (``indexed_facts``).
    """
    columns: dict[str, pa.Array] = {"index": pa.array([unit.index for unit in units], pa.int64())}
    columns |= {name: pa.array([getattr(unit, name) for unit in units], pa.string()) for name in TEXT}
    columns["split"] = pa.array([unit.side for unit in units], pa.string())
    ids = [unit.unit_id for unit in units]
    for name in ("status", "stage", "reason"):
        columns[name] = pa.array(judged[name].loc[ids].tolist(), pa.string())
    columns["shard"] = pa.array([where.get(unit_id, "") for unit_id in ids], pa.string())
    errors = ["; ".join(f"{name}: {said[u]}" for name, said in scores.errors.items() if u in said) for u in ids]
    columns["errors"] = pa.array(errors, pa.string())
    keys = [keys_of(unit) for unit in units]
    columns |= {f"{name}_key": pa.array([getattr(k, name) for k in keys], pa.int64()) for name in Keys._fields}
    names = (*facts.scorers, "")  # -1 = no scorer is missing
    columns["unscored_by"] = pa.array([names[i] for i in facts.unseen.tolist()], pa.string())
    columns["selected"] = pa.array(facts.chosen)
    for role in INPUT_ROLES:
        if any(role in unit.inputs for unit in units):
            items = [unit.inputs.get(role) for unit in units]
            columns[f"{role}_licence"] = pa.array([item.licence if item else "" for item in items], pa.string())
            columns[f"{role}_attribution"] = pa.array([item.attribution if item else "" for item in items], pa.string())
    for name in scores.owners:
        if name in columns:
            raise StoreError(f"scorer {scores.owners[name]}: its column {name!r} has the name of an index column")
        columns[name] = pa.Array.from_pandas(scores.frame[name].loc[ids])
    return pa.table(columns)


def check_accounting(units: Sequence[Unit], index: pa.Table, written: int) -> None:
    """planned = kept + rejected + failed + pending, each unit once, and every kept one in a shard; else StoreError."""
    ids = index.column("unit_id").to_pylist()
    statuses = index.column("status").to_pylist()
    shards = index.column("shard").to_pylist()
    if ids != [unit.unit_id for unit in units] or len(set(ids)) != len(ids):
        raise StoreError(f"accounting: the index has {len(ids)} units that are not the {len(units)} planned ones")
    counts = {status: statuses.count(status) for status in STATUSES}
    if sum(counts.values()) != len(units):
        raise StoreError(f"accounting: {len(units)} planned, but {counts} adds up to {sum(counts.values())}")
    lost = [u for u, status, shard in zip(ids, statuses, shards, strict=True) if (status == "kept") != bool(shard)]
    if lost or counts["kept"] != written:
        raise StoreError(f"accounting: {counts['kept']} kept, {written} written; {len(lost)} units in one but not the "
                         f"other{', as ' + lost[0] if lost else ''}")
