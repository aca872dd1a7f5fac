"""The plan as a parquet file of many row groups: every unit in order, with its block and its input images.

Written and read a row group at a time, so a plan of any length takes the memory of one group; only writing holds all
ids, as bytes.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.errors import StoreError
from curate.files import writing
from curate.keys import KeyIndex, Raw, characters, id_bytes
from curate.records import Block, SourceItem, Unit
from curate.seeds import digest
from curate.store.blocks import make_block
from curate.store.parts import Parts
from curate.store.tables import WRITING, open_parquet
from curate.unit_columns import SCHEMA as UNITS
from curate.unit_columns import UNIT_FIELDS, batches, units_of

SCHEMA = pa.schema([*(UNITS.field(name) for name in UNIT_FIELDS), ("block", pa.int64()), ("block_id", pa.string()),
                    UNITS.field("inputs")])


def plan_digest(units: Sequence[Unit], block_size: int) -> str:
    """16 hex digits over everything in the plan: also where inputs lie and their licences, which unit ids leave out."""
    h = _begun(block_size)
    for batch in batches(units, block_size):
        _hash(h, batch.columns)
    return str(h.hexdigest())


def write_plan(path: Path, units: Sequence[Unit], block_size: int) -> str:
    """Write the plan file of ``units`` cut into blocks of ``block_size``; its digest.

    Raises StoreError unless unit ids are distinct, usable as file and sample names, and indices count from 0; then
    nothing is written.
    """
    if block_size < 1:
        raise ValueError(f"block_size must be at least 1, not {block_size}")
    h = _begun(block_size)
    ids: list[Raw] = []
    with writing(path) as file, pq.ParquetWriter(file, SCHEMA, **WRITING) as writer:
        row = 0
        for batch in batches(units, block_size):
            _check(batch, row)
            _hash(h, batch.columns)
            ids.append(id_bytes(batch.column("unit_id")))
            writer.write_batch(_with_blocks(batch, row // block_size, block_size))
            row += batch.num_rows
        if ids and (place := KeyIndex(np.concatenate(ids)).twice) is not None:
            raise StoreError(f"plan: unit {units[place].unit_id} is planned twice")
    return str(h.hexdigest())


def _check(batch: pa.RecordBatch, first: int) -> None:
    """Of ids and indices."""
    usable = pc.utf8_is_alnum(batch.column("unit_id"))  # a dot would split a sample's key, a slash its path
    if not pc.all(usable).as_py():
        bad = batch.column("unit_id")[usable.index(False).as_py()].as_py()
        raise StoreError(f"plan: unit id {bad!r} must be letters and digits only")
    wrong = np.flatnonzero(batch.column("index").to_numpy() != np.arange(first, first + batch.num_rows))
    if len(wrong):
        one = batch.slice(int(wrong[0]), 1).to_pylist()[0]
        raise StoreError(f"plan: unit {one['unit_id']} has index {one['index']} at position {first + int(wrong[0])}")


def _with_blocks(batch: pa.RecordBatch, first_block: int, block_size: int) -> pa.RecordBatch:
    ids = batch.column("unit_id").to_pylist()
    starts = range(0, len(ids), block_size)
    names = pa.array([digest(*ids[start:start + block_size]) for start in starts], pa.string())
    blocks = np.arange(len(ids)) // block_size
    own = {"block": pa.array(first_block + blocks), "block_id": names.take(pa.array(blocks))}
    return pa.record_batch([own[name] if name in own else batch.column(name) for name in SCHEMA.names], schema=SCHEMA)


def _begun(block_size: int) -> Any:
    return hashlib.blake2b(str(block_size).encode(), digest_size=8)


def _hash(h: Any, columns: Sequence[pa.Array]) -> None:
    """Lengths and bytes of every value: not of Arrow's own layout, which may change."""
    for column in columns:
        if pa.types.is_list(column.type):
            h.update(np.diff(np.asarray(column.offsets)).tobytes())
            _hash(h, column.flatten().flatten())
        elif pa.types.is_string(column.type):
            offsets, data = characters(column)
            h.update(np.diff(offsets).tobytes())
            h.update(data[offsets[0]:offsets[-1]])
        else:
            h.update(column.to_numpy().tobytes())


class PlanFile:
    """A plan on disk. StoreError from any method when it cannot be read."""

    def __init__(self, path: Path, block_size: int) -> None:
        self.path, self.block_size = path, block_size
        self._last: tuple[int, pa.RecordBatch] | None = None
        """A row group, kept for the next question: neighbours are asked for one after the other."""

    @cached_property
    def _file(self) -> pq.ParquetFile:
        file = open_parquet(self.path)
        missing = [name for name in SCHEMA.names if name not in file.schema_arrow.names]
        if missing:
            raise StoreError(f"{self.path}: not a plan of this version: no column {missing[0]!r}")
        return file

    @cached_property
    def _starts(self) -> list[int]:
        """First row of each row group, and the number of rows."""
        sizes = (self._file.metadata.row_group(i).num_rows for i in range(self._file.num_row_groups))
        return [0, *accumulate(sizes)]

    def __len__(self) -> int:
        return self._starts[-1]

    def check(self) -> None:
        """Read all of it. Raises StoreError where that is not possible."""
        for _ in self.tables():
            pass

    @property
    def num_blocks(self) -> int:
        """The last may be smaller than the others."""
        return -(-len(self) // self.block_size)

    def _read(self, group: int, columns: Sequence[str] | None = None) -> pa.Table:
        try:
            return self._file.read_row_group(group, columns=columns, use_threads=False)
        except (OSError, pa.ArrowException) as error:
            raise StoreError(f"{self.path}: not readable as a plan ({error})") from error

    def _group(self, group: int) -> pa.RecordBatch:
        if self._last is None or self._last[0] != group:
            self._last = None  # before the next is read: 1 KB a unit
            self._last = group, self._read(group).combine_chunks().to_batches()[0]
        return self._last[1]

    def tables(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Some columns, a row group at a time."""
        return (self._read(group, columns) for group in range(self._file.num_row_groups))

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Some columns of all units."""
        empty = SCHEMA.empty_table().select(list(columns or SCHEMA.names))
        return pa.concat_tables([empty, *self.tables(columns)])

    @cached_property
    def parts(self) -> Parts:
        """Ids and places of all units, to find units by id: 24 bytes a unit, on disk."""
        parts = Parts(np.int64)
        for start, table in zip(self._starts, self.tables(["unit_id"]), strict=False):
            parts.add(id_bytes(table.column(0).combine_chunks()), start + np.arange(table.num_rows))
        return parts

    @property
    def layouts(self) -> npt.NDArray[Any]:
        """(N,) str objects, all of them of two."""
        parts = [table.column(0).combine_chunks().dictionary_encode() for table in self.tables(["layout"])]
        texts = [np.array(part.dictionary.to_pylist(), dtype=object)[part.indices.to_numpy()] for part in parts]
        return np.concatenate([np.zeros(0, dtype=object), *texts])

    def units(self, start: int = 0, stop: int | None = None) -> list[Unit]:
        """The units from ``start`` to before ``stop``. Those with the same input image share one item."""
        stop = len(self) if stop is None else min(stop, len(self))
        items: dict[tuple[str, ...], SourceItem] = {}
        found: list[Unit] = []
        while start < stop:
            group = bisect_right(self._starts, start) - 1
            end = min(stop, self._starts[group + 1])
            batch = self._group(group).slice(start - self._starts[group], end - start)
            found += units_of(batch, items)
            start = end
        return found

    def block(self, number: int) -> Block:
        """One block."""
        return make_block(number, self.units(number * self.block_size, (number + 1) * self.block_size))

    def inputs(self) -> pd.DataFrame:
        """``unit_id``, ``role``, ``source`` and ``uri`` of every input image: a million in seconds."""
        table = self.table(["unit_id", "inputs"]).combine_chunks()
        lists = table.column("inputs").combine_chunks()
        items = lists.flatten()
        ids = table.column("unit_id").take(lists.value_parent_indices()).to_pandas()
        fields = {name: items.field(name).to_pandas() for name in ("role", "source", "uri")}
        return pd.DataFrame({"unit_id": ids, **fields})
