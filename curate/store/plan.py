"""The plan as a parquet file: every unit in order, with its block and its input images."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import astuple, fields
from pathlib import Path
from sys import intern
from typing import Any

import pandas as pd
import pyarrow as pa

from curate.errors import StoreError
from curate.records import SourceItem, Unit
from curate.store.blocks import make_blocks
from curate.store.tables import read_table, write_table

ITEM_FIELDS = tuple(f.name for f in fields(SourceItem))
UNIT_FIELDS = tuple(f.name for f in fields(Unit) if f.name != "inputs")
LABELS = ("recipe", "layout", "side", "style")
CHUNK = 20_000
"""Units that are Python lists of values at one time, on their way to Arrow and back."""
SCHEMA = pa.schema([
    *((name, pa.int64() if name == "index" else pa.string()) for name in UNIT_FIELDS),
    ("block", pa.int64()),
    ("block_id", pa.string()),
    ("inputs", pa.list_(pa.struct([(name, pa.string()) for name in ("role", *ITEM_FIELDS)]))),
])


def plan_digest(units: Sequence[Unit], block_size: int) -> str:
    """16 hex digits over everything in the plan: also where inputs lie and their licences, which unit ids leave out."""
    h = hashlib.blake2b(str(block_size).encode(), digest_size=8)
    for unit in units:
        values = [getattr(unit, name) for name in UNIT_FIELDS]
        inputs = [(role, *astuple(item)) for role, item in sorted(unit.inputs.items())]
        h.update(json.dumps([values, inputs]).encode())
    return h.hexdigest()


def check_plan(units: Sequence[Unit]) -> None:
    """Raises StoreError unless unit ids are distinct, usable as file and sample names, and indices count from 0."""
    seen: set[str] = set()
    for i, unit in enumerate(units):
        if not unit.unit_id or not unit.unit_id.isalnum():  # a dot would split a sample's key, a slash its path
            raise StoreError(f"plan: unit id {unit.unit_id!r} must be letters and digits only")
        if unit.unit_id in seen:
            raise StoreError(f"plan: unit {unit.unit_id} is planned twice")
        if unit.index != i:
            raise StoreError(f"plan: unit {unit.unit_id} has index {unit.index} at position {i}")
        seen.add(unit.unit_id)


def write_plan(path: Path, units: Sequence[Unit], block_size: int) -> None:
    """Write the plan file of ``units`` cut into blocks of ``block_size``."""
    step = max(1, CHUNK // block_size) * block_size  # whole blocks
    parts = [_table(units[start:start + step], start // block_size, block_size)
             for start in range(0, len(units), step)]
    write_table(path, pa.concat_tables([SCHEMA.empty_table(), *parts]).combine_chunks())


def _table(units: Sequence[Unit], first_block: int, block_size: int) -> pa.Table:
    columns: dict[str, list[Any]] = {name: [getattr(u, name) for u in units] for name in UNIT_FIELDS}
    blocks = make_blocks(units, block_size)
    columns["block"] = [first_block + block.index for block in blocks for _ in block.units]
    columns["block_id"] = [block.block_id for block in blocks for _ in block.units]
    columns["inputs"] = [[{"role": role, **{name: getattr(item, name) for name in ITEM_FIELDS}}
                          for role, item in sorted(unit.inputs.items())] for unit in units]
    return pa.table(columns, schema=SCHEMA)


def read_plan(path: Path) -> list[Unit]:
    """The units of a plan file, in order. Units with the same input image share one item, and equal labels one text."""
    table = read_table(path)
    missing = [name for name in SCHEMA.names if name not in table.schema.names]
    if missing:
        raise StoreError(f"{path}: not a plan of this version: no column {missing[0]!r}")
    units: list[Unit] = []
    items: dict[tuple[str, ...], SourceItem] = {}
    for part in table.to_batches(max_chunksize=CHUNK):
        columns = [part.column(name).to_pylist() for name in UNIT_FIELDS]
        inputs = part.column("inputs").to_pylist()
        for values, entries in zip(zip(*columns, strict=True), inputs, strict=True):
            known: dict[str, Any] = {name: intern(value) if name in LABELS else value
                                     for name, value in zip(UNIT_FIELDS, values, strict=True)}
            roles: dict[Any, SourceItem] = {intern(entry["role"]): _shared(entry, items) for entry in entries}
            units.append(Unit(**known, inputs=roles))
    return units


def _shared(entry: dict[str, str], items: dict[tuple[str, ...], SourceItem]) -> SourceItem:
    key = tuple(entry[name] for name in ITEM_FIELDS)
    if key not in items:
        items[key] = SourceItem(*key)
    return items[key]


def read_inputs(path: Path) -> pd.DataFrame:
    """``unit_id``, ``role``, ``source`` and ``uri`` of every input image, without building units: a million in seconds.
    """
    try:
        table = read_table(path).select(["unit_id", "inputs"]).combine_chunks()
    except (KeyError, pa.ArrowException) as error:
        raise StoreError(f"{path}: not readable as a plan ({error})") from error
    lists = table.column("inputs").combine_chunks()
    items = lists.flatten()
    fields = {name: items.field(name).to_pandas() for name in ("role", "source", "uri")}
    return pd.DataFrame({"unit_id": table.column("unit_id").take(lists.value_parent_indices()).to_pandas(), **fields})
