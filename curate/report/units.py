"""Every planned unit as one row: from the index of a sealed run, else from plan, ledger and scores.

A million units take a few seconds and about 1 GB sealed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from curate.errors import StoreError
from curate.records import SUBJECT
from curate.store import RunPaths, RunStore, with_captions
from curate.store.tables import read_table

UNDECIDED = "undecided"
"""Status of a unit that was made in a run without shards: no rule has been asked yet."""
STATUSES = ("kept", "rejected", "failed", "pending", UNDECIDED)
TEXT = ("unit_id", "recipe", "layout", "caption", "style_caption", "subject", "style_subject", "style")
LABELS = ("recipe", "layout", "style", "split", "status", "stage", "shard")
"""Columns of few distinct values, kept as pandas categories: a tenth of the memory, and grouping is fast."""


@dataclass(frozen=True, slots=True)
class UnitTable:
    """The units of a run."""

    frame: pd.DataFrame
    """A row a planned unit, in plan order: the text columns, ``LABELS``, ``reason``, ``made`` (has images),
    ``errors`` (``scorer: message``), ``<input role>_licence``, and the score columns."""
    scores: tuple[str, ...]
    """Score columns, hashes too."""
    ledger: pd.DataFrame
    """Committed units of this plan, indexed by unit_id."""
    dataset: Mapping[str, Any] | None
    """The content of dataset.json; None when the run is not sealed."""
    errors: Mapping[str, int]
    """Scorer -> units it could not score."""

    @property
    def made_since_seal(self) -> int:
        """Units that the index takes for not made yet, but that are committed by now."""
        unmade = (self.frame["status"] == "pending") & (self.frame["stage"] == "candidates")
        return int((self.ledger.index.get_indexer(pd.Index(self.frame.loc[unmade, "unit_id"])) >= 0).sum())


def read_units(run: Path) -> UnitTable:
    """The units of a run directory. Raises StoreError when it is none."""
    store = RunStore.open(run, sweep=False)
    return _from_index(store) if (store.paths.shards / "dataset.json").is_file() else _from_store(store)


def _from_index(store: RunStore) -> UnitTable:
    folder = store.paths.shards
    try:
        dataset = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StoreError(f"{folder / 'dataset.json'}: cannot be read ({error}); seal again") from error
    table = read_table(folder / "index.parquet")
    frame = _to_pandas(table.drop_columns([name for name in table.schema.names if name.endswith("_attribution")]))
    ledger = _of_plan(store.ledger(), frame)
    made = ledger["status"].reindex(frame["unit_id"]).to_numpy(dtype=object) == "made"
    judged = frame["status"].isin(["kept", "rejected"]) & (frame["stage"] != SUBJECT)
    frame["made"] = made | judged  # candidates may be deleted once sealed
    errors = {scorer["name"]: _told_by(scorer["name"], frame["errors"]) for scorer in dataset["scorers"]}
    scores = tuple(name for name in dataset["columns"] if name in frame.columns)
    return UnitTable(frame=frame, scores=scores, ledger=ledger, dataset=dataset, errors=errors)


def _from_store(store: RunStore) -> UnitTable:
    ledger = store.ledger()
    frame = _to_pandas(_plan_table(with_captions(store.plan.table(), ledger)))
    ledger = _of_plan(ledger, frame)
    found = ledger.reindex(frame["unit_id"])
    committed = found["status"].to_numpy(dtype=object)
    without = ("failed", "rejected")
    status = np.select([committed == "made", *(committed == one for one in without)], [UNDECIDED, *without], "pending")
    frame["status"] = pd.Categorical(status, categories=STATUSES)
    frame["stage"] = pd.Categorical(found["stage"].fillna("candidates").to_numpy(dtype=object))
    frame["reason"] = found["reason"].fillna("not made yet").to_numpy(dtype=object)
    frame["made"] = status == UNDECIDED
    errors: dict[str, int] = {}
    told = np.full(len(frame), "", dtype=object)
    columns: list[str] = []
    for name, fingerprint in newest_scores(store.paths):
        scores = store.scores(name, fingerprint).reindex(frame["unit_id"])
        said = scores.pop("error").fillna("").to_numpy(dtype=object)
        errors[name] = int((said != "").sum())
        told += np.where(said != "", f"; {name}: " + said, "")
        columns += [str(column) for column in scores.columns]
        frame = pd.concat([frame, scores.reset_index(drop=True)], axis=1)
    frame["errors"] = [text.removeprefix("; ") for text in told]
    return UnitTable(frame=frame, scores=tuple(columns), ledger=ledger, dataset=None, errors=errors)


def fold_reasons(reasons: pd.Series[Any]) -> pd.Series[str]:
    """Reasons to count or group by: near-duplicates without the unit that each of them resembles."""
    text = reasons.astype(str)
    return text.mask(text.str.startswith("near duplicate of "), "near duplicate")


def newest_scores(paths: RunPaths) -> list[tuple[str, str]]:
    """(scorer, fingerprint) of the score folders; of a scorer with several fingerprints the one written to last."""
    newest: dict[str, tuple[float, str]] = {}
    for folder in sorted(paths.all_scores.glob("*@*")):
        name, _, fingerprint = folder.name.rpartition("@")
        newest[name] = max(newest.get(name, (0.0, "")), (folder.stat().st_mtime, fingerprint))
    return [(name, fingerprint) for name, (_, fingerprint) in newest.items()]


def _plan_table(plan: pa.Table) -> pa.Table:
    columns = {name: plan.column(name) for name in ("index", *TEXT)} | {"split": plan.column("side")}
    lists = plan.column("inputs").combine_chunks()
    items, units = lists.flatten(), lists.value_parent_indices()
    for role in sorted(pc.unique(items.field("role")).to_pylist()):
        mine = pc.equal(items.field("role"), role)
        texts = np.full(plan.num_rows, "", dtype=object)
        texts[units.filter(mine)] = items.field("licence").filter(mine).to_numpy(zero_copy_only=False)
        columns[f"{role}_licence"] = pa.array(texts, pa.string())
    return pa.table(columns)


def _to_pandas(table: pa.Table) -> pd.DataFrame:
    for name in table.schema.names:
        if name in LABELS or name.endswith("_licence"):
            column = table.column(name).dictionary_encode()
            table = table.set_column(table.schema.get_field_index(name), name, column)
    frame: pd.DataFrame = table.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)
    return frame


def _of_plan(ledger: pd.DataFrame, frame: pd.DataFrame) -> pd.DataFrame:
    """Without the units that only an earlier plan of the same directory had."""
    planned = pd.Index(frame["unit_id"]).get_indexer(ledger.index) >= 0  # isin takes 9 s longer on a million
    found: pd.DataFrame = ledger[planned]
    return found


def _told_by(scorer: str, errors: pd.Series[str]) -> int:
    """Units of which the index says ``<scorer>: <error>``."""
    said = errors[errors != ""]
    return int((said.str.startswith(f"{scorer}: ") | said.str.contains(f"; {scorer}: ", regex=False)).sum())
