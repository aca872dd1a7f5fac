"""Source items as columns: millions of them in some 200 bytes each, read one by one as ``SourceItem``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from itertools import chain, islice
from typing import overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.keys import Raw, to_hex, unhex
from curate.records import SourceItem

Rows = npt.NDArray[np.int32]

ITEM_FIELDS = tuple(f.name for f in fields(SourceItem))
FEW = ("source", "style", "licence", "attribution")
"""Columns of few different values: dictionaries."""
SUM, SUM_BYTES = "sha256", 32
CHUNK = 16_384
"""Items that are Python objects at one time."""
_CODED = pa.dictionary(pa.int32(), pa.string())
# large_string: offsets of 64 bits, for ten million paths may be more than 2 GiB
_SCHEMA = pa.schema([(name, pa.binary(SUM_BYTES) if name == SUM else _CODED if name in FEW else pa.large_string())
                     for name in ITEM_FIELDS])


class ItemColumns(Sequence[SourceItem]):
    """A list of items that is no list of Python objects. Make it with ``of``."""

    def __init__(self, columns: dict[str, pa.Array], rows: Rows) -> None:
        self._columns = columns
        self.rows = rows
        """(N,) which rows of the columns stand in the list, in order."""

    @classmethod
    def of(cls, items: Iterable[SourceItem]) -> ItemColumns:
        """Read once, a chunk at a time. Raises ValueError for an item whose sha256 is no sha256."""
        if isinstance(items, ItemColumns):
            return items
        rest = iter(items)
        parts = [_batch(part) for part in iter(lambda: list(islice(rest, CHUNK)), [])]
        columns = {}
        for name in ITEM_FIELDS:  # one after the other: then only one of them is there twice
            chunks = pa.chunked_array([part.pop(name) for part in parts], _SCHEMA.field(name).type)
            joined = chunks.unify_dictionaries().combine_chunks() if name in FEW else chunks.combine_chunks()
            columns[name] = joined.chunk(0) if isinstance(joined, pa.ChunkedArray) else joined
        return cls(columns, np.arange(len(columns[SUM]), dtype=np.int32))

    def take(self, places: npt.NDArray[np.integer]) -> ItemColumns:
        """The items at these places of the list."""
        return ItemColumns(self._columns, self.rows[places])

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, which: int) -> SourceItem: ...
    @overload
    def __getitem__(self, which: slice) -> list[SourceItem]: ...

    def __getitem__(self, which: int | slice) -> SourceItem | list[SourceItem]:
        if isinstance(which, slice):
            return list(self.take(np.arange(len(self))[which]))
        return self._items(self.rows[[which]])[0]

    def __iter__(self) -> Iterator[SourceItem]:
        return chain.from_iterable(self._items(self.rows[start:start + CHUNK])
                                   for start in range(0, len(self), CHUNK))

    def _items(self, rows: Rows) -> list[SourceItem]:
        values = [self._text(name, rows).to_pylist() for name in ITEM_FIELDS]
        return [SourceItem(*one) for one in zip(*values, strict=True)]

    def text(self, name: str, start: int = 0, stop: int | None = None) -> pa.Array:
        """Some of a column as strings."""
        return self._text(name, self.rows[start:stop])

    def at(self, name: str, places: npt.NDArray[np.integer]) -> pa.Array:
        """A column as strings, at these places of the list."""
        return self._text(name, self.rows[places])

    def _text(self, name: str, rows: Rows) -> pa.Array:
        if name == SUM:
            return to_hex(self._sums()[rows])
        return self._columns[name].take(pa.array(rows)).cast(pa.string())

    def told(self, name: str) -> int:
        """How many items have something in a column."""
        return sum(int(pc.sum(pc.not_equal(self.text(name, start, start + CHUNK), "")).as_py())
                   for start in range(0, len(self), CHUNK))

    @property
    def sums(self) -> Raw:
        """(N, 32) sha256 of each."""
        return self._sums()[self.rows]

    def _sums(self) -> Raw:
        column = self._columns[SUM]
        raw: Raw = np.frombuffer(column.buffers()[1] or b"", dtype=np.uint8).reshape(-1, SUM_BYTES)
        return raw[column.offset:column.offset + len(column)]

    def codes(self, name: str) -> tuple[Rows, list[str]]:
        """(N,) positions in the list of the different values of a column of ``FEW``."""
        column = self._columns[name]
        return column.indices.to_numpy()[self.rows], column.dictionary.to_pylist()


def _batch(items: Sequence[SourceItem]) -> dict[str, pa.Array]:
    columns = {}
    for name in ITEM_FIELDS:
        values = [getattr(item, name) for item in items]
        if name == SUM:
            raw = np.ascontiguousarray(unhex(pa.array(values, pa.string()), SUM_BYTES))
            kind = pa.binary(SUM_BYTES)
            columns[name] = pa.FixedSizeBinaryArray.from_buffers(kind, len(values), [None, pa.py_buffer(raw)])
        elif name in FEW:
            columns[name] = pa.array(values, pa.string()).dictionary_encode()
        else:
            columns[name] = pa.array(values, pa.large_string())
    return columns
