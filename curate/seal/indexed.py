"""The facts of a sealed folder, read back from its index alone: other rules can then be tried without the run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from curate.errors import StoreError
from curate.records import SUBJECT
from curate.seal.facts import MADE, Facts, Verdict, numbered
from curate.seal.look_alikes import Bools, Ints
from curate.seal.publish import INDEX
from curate.seal.split import Keys
from curate.store.tables import read_table

TEXT = ("layout", "split", "status", "stage", "reason", "errors", "unscored_by")
KEYS = tuple(f"{name}_key" for name in Keys._fields)
NEEDED = (*TEXT, *KEYS, "selected")


def indexed_facts(folder: Path, dataset: Mapping[str, Any], columns: Sequence[str]) -> Facts:
    """The facts of a sealed folder. ``dataset``: the content of its dataset.json; ``columns``: the scores to read.

    Judging them by the rules of ``dataset`` gives the statuses of the index again. Raises StoreError for an index that
    an earlier version wrote: it does not hold all that the verdicts depend on.
    """
    table = read_table(folder / INDEX, [*NEEDED, *sorted(set(columns))], encoded=TEXT)
    lacking = [name for name in NEEDED if name not in table.schema.names]
    if lacking or "owners" not in dataset:
        raise StoreError(f"{folder / INDEX}: written by an earlier version (no {', '.join(lacking) or 'owners'}); "
                         "`curate seal RUN` writes it again")
    scorers = [scorer["name"] for scorer in dataset["scorers"]]
    made, outcomes = _outcomes(table, scorers)
    sources, subjects = numbered(*(_flat(table, name).to_numpy() for name in KEYS))
    return Facts(
        frame=_frame(table), val=_is(table, "split", "val"), made=made, outcomes=outcomes,
        unseen=_unseen(table, scorers), scorers=scorers, owners=dataset["owners"], errors=_errors(table, scorers),
        sources=sources, subjects=subjects, chosen=_flat(table, "selected").to_numpy(zero_copy_only=False))


def _flat(table: pa.Table, name: str) -> pa.Array:
    column = table.column(name)
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _is(table: pa.Table, name: str, *values: str) -> Bools:
    column = _flat(table, name)
    wanted = np.array([text in values for text in column.dictionary.to_pylist()], dtype=bool)
    same: Bools = wanted[column.indices.to_numpy()] if len(wanted) else np.zeros(len(column), dtype=bool)
    return same


def _frame(table: pa.Table) -> pd.DataFrame:
    layout = _flat(table, "layout")
    scores = table.select([name for name in table.schema.names if name not in NEEDED])
    frame: pd.DataFrame = scores.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)
    return frame.assign(layout=pd.Categorical.from_codes(layout.indices.to_numpy(), layout.dictionary.to_pylist()))


def _outcomes(table: pa.Table, scorers: Sequence[str]) -> tuple[Ints, list[Verdict]]:
    """A failure belongs to making unless its stage is a scorer ("score": of a column that nobody owns); of rejections
    only those before it do."""
    unmade = _is(table, "status", "pending") & _is(table, "stage", "candidates")
    unmade |= _is(table, "status", "failed") & ~_is(table, "stage", *scorers, "score")
    unmade |= _is(table, "status", "rejected") & _is(table, "stage", SUBJECT)
    made = np.zeros(table.num_rows, dtype=np.int64)
    outcomes = {MADE: 0}
    at = np.flatnonzero(unmade)
    rows = table.select(["status", "stage", "reason"]).take(pa.array(at)).to_pylist()
    made[at] = [outcomes.setdefault(Verdict(**row), len(outcomes)) for row in rows]
    return made, list(outcomes)


def _unseen(table: pa.Table, scorers: Sequence[str]) -> Ints:
    encoded = _flat(table, "unscored_by")
    numbers = {name: i for i, name in enumerate(scorers)}
    codes = np.array([numbers.get(name, -1) for name in encoded.dictionary.to_pylist()], dtype=np.int64)
    unseen: Ints = codes[encoded.indices.to_numpy()] if len(codes) else np.zeros(0, dtype=np.int64)
    return unseen


def _errors(table: pa.Table, scorers: Sequence[str]) -> dict[str, dict[int, str]]:
    """The column says ``<scorer>: <error>; <scorer>: <error>``."""
    found: dict[str, dict[int, str]] = {name: {} for name in scorers}
    said = _flat(table, "errors")
    at = np.flatnonzero(~_is(table, "errors", ""))
    head = re.compile(rf"(?:^|; )({'|'.join(re.escape(name) for name in scorers)}): ")
    for unit, text in zip(at.tolist(), said.take(pa.array(at)).to_pylist(), strict=True):
        parts = head.split(text)[1:]
        for name, error in zip(parts[::2], parts[1::2], strict=True):
            found[name][unit] = error
    return found
