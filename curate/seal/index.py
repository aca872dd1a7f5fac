"""index.parquet: every unit of the plan, whatever became of it. Byte-identical for equal inputs: no times, no paths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from curate.errors import StoreError
from curate.keys import Ints
from curate.records import InputRole
from curate.seal.facts import Facts, ScoreTable
from curate.seal.judge import STATUSES
from curate.seal.split import Keys, keys_of

INPUT_ROLES: tuple[InputRole, ...] = ("stylized", "subject", "content", "style")
TEXT = ("unit_id", "recipe", "layout", "caption", "style_caption", "subject", "style_subject", "style")


def build_index(plan: pa.Table, judged: pd.DataFrame, facts: Facts, scores: ScoreTable, where: Mapping[str, str],
                ) -> pa.Table:
    """One row a planned unit, in plan order. ``where``: unit_id -> shard of the kept ones.

    ``split`` is the planned side, for rejected units too; ``errors`` tells what scorers said, rules or not. With
    the keys (``split.Keys``), ``unscored_by`` and ``selected`` it holds all that the verdicts depend on, so that other
    rules can be tried on it alone (``indexed_facts``).
    """
    columns: dict[str, Any] = {name: plan.column(name) for name in ("index", *TEXT)}
    columns["split"] = plan.column("side")
    for name in ("status", "stage", "reason"):
        columns[name] = pa.array(judged[name].to_numpy(dtype=object), pa.string())
    columns["shard"] = pa.array([where.get(unit_id, "") for unit_id in plan.column("unit_id").to_pylist()], pa.string())
    columns["errors"] = pa.array(_errors(scores, plan.num_rows), pa.string())
    columns |= {f"{name}_key": pa.array(keys) for name, keys in zip(Keys._fields, keys_of(plan), strict=True)}
    names = (*facts.scorers, "")  # -1 = no scorer is missing
    columns["unscored_by"] = pa.array(names, pa.string()).take(pa.array(facts.unseen % len(names)))
    columns["selected"] = pa.array(facts.chosen)
    for role in INPUT_ROLES:
        for what, texts in _terms(plan, role).items():
            columns[f"{role}_{what}"] = texts
    for name in scores.owners:
        if name in columns:
            raise StoreError(f"scorer {scores.owners[name]}: its column {name!r} has the name of an index column")
        columns[name] = pa.Array.from_pandas(scores.frame[name])
    return pa.table(columns).combine_chunks()


def _errors(scores: ScoreTable, num_units: int) -> list[str]:
    texts = [""] * num_units
    for name, said in scores.errors.items():
        for place, text in said.items():
            texts[place] += f"{'; ' if texts[place] else ''}{name}: {text}"
    return texts


def inputs_of(plan: pa.Table, role: str, *fields: str) -> tuple[Ints, pa.Table]:
    """Places of the units that have an input of this role, and some fields of those inputs."""
    lists = plan.column("inputs").combine_chunks()
    items, units = lists.flatten(), lists.value_parent_indices().to_numpy()
    mine = np.flatnonzero(np.asarray(pc.equal(items.field("role"), role)))
    return units[mine], pa.table({name: items.field(name).take(pa.array(mine)) for name in fields})


def _terms(plan: pa.Table, role: str) -> dict[str, pa.Array]:
    """Licence and attribution of the input of each unit; nothing where no unit has such an input."""
    fields = ("licence", "attribution")
    units, found = inputs_of(plan, role, *fields)
    if not len(units):
        return {}
    at = np.full(plan.num_rows, -1, dtype=np.int64)
    at[units] = np.arange(len(units))
    places = pa.array(at, mask=at < 0)
    return {name: found.column(name).take(places).combine_chunks().fill_null("") for name in fields}


def check_accounting(plan: pa.Table, index: pa.Table, written: int) -> None:
    """planned = kept + rejected + failed + pending, each unit once, and every kept one in a shard; else StoreError."""
    ids, statuses, planned = index.column("unit_id"), index.column("status"), plan.num_rows
    if not ids.equals(plan.column("unit_id")) or pc.count_distinct(ids).as_py() != planned:
        raise StoreError(f"accounting: the index has {len(ids)} units that are not the {planned} planned ones")
    found = {row["values"]: row["counts"] for row in pc.value_counts(statuses).to_pylist()}
    counts = {status: found.get(status, 0) for status in STATUSES}
    if sum(counts.values()) != planned:
        raise StoreError(f"accounting: {planned} planned, but {counts} adds up to {sum(counts.values())}")
    lost = ids.filter(pc.not_equal(pc.equal(statuses, "kept"), pc.not_equal(index.column("shard"), "")))
    if len(lost) or counts["kept"] != written:
        raise StoreError(f"accounting: {counts['kept']} kept, {written} written; {len(lost)} units in one but not the "
                         f"other{f', as {lost[0]}' if len(lost) else ''}")
