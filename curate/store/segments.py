"""A folder of committed rows: small segments as workers write them, and the larger files that they are folded into.

``seg-<hash>.parquet`` is one commit. ``rows-<first>-<last>.parquet`` holds the rows of many (``store.folding``). A
reader that finds a segment in several files takes it from the newest: a small segment is newer than any rows file, a
higher number newer than a lower one. A rows file whose span lies within another's is passed over.

Reading a small segment costs about 0.5 ms.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.errors import StoreError
from curate.files import is_remote, list_files
from curate.keys import KeyIndex, id_bytes
from curate.store.tables import open_parquet, read_table

JOINED = 1000
"""Segments that are joined at once when a folder is read."""
THREADS = 32
"""Requests at a time to an object store."""
SEGMENT = "segment"
_ROWS = re.compile(r"rows-(\d+)-(\d+)\.parquet")
Stamp = tuple[str, int]


class Listing(NamedTuple):
    """What a folder holds."""

    small: dict[str, Stamp]
    """By name, in the order of names."""
    rows: list[str]
    """Newest first."""
    stale: list[str]
    """Rows files within another's span: what a fold that died had still to remove."""
    stamps: dict[str, Stamp]


class Place(NamedTuple):
    """Where rows lie: a file and a row group of it."""

    name: str
    group: int


class SegmentFolder:
    """The rows of one folder, with a ``segment`` column: the stem of the file that was committed.

    ``repeated`` columns, whose long texts are the same in most rows, are kept as dictionaries: else they would be most
    of the table.
    """

    def __init__(self, folder: Path, schema: pa.Schema, *, repeated: Sequence[str] = ()) -> None:
        self.folder = folder
        self._repeated = (SEGMENT, *repeated)
        fields = [*schema, pa.field(SEGMENT, pa.string())]
        coded = [f.with_type(pa.dictionary(pa.int32(), f.type)) if f.name in self._repeated else f for f in fields]
        self._empty = pa.schema(coded).empty_table()
        """Columns that every segment has: what an empty folder looks like."""
        self._table = self._empty
        self._seen: dict[str, Stamp] = {}

    def table(self) -> pa.Table:
        """All rows, in the order of segment names; kept, so that a later call reads only new small segments. Columns
        that a segment lacks are null."""
        return _again(self._refreshed)

    def _refreshed(self) -> pa.Table:
        there = self.look()
        present = {name: there.stamps[name] for name in (*there.small, *there.rows)}
        changed = [name for name, stamp in present.items() if self._seen.get(name) != stamp]
        if self._seen.keys() - present.keys() or any(name in there.rows for name in changed):
            self._table, changed = self._empty, list(there.small)
            parts = [self._coded(part) for _, part in self.scan(there)]
        else:
            parts = [self._coded(self.join(changed[at:at + JOINED])) for at in range(0, len(changed), JOINED)]
        if parts or not self._seen:
            stems = pa.array([name.removesuffix(".parquet") for name in changed], pa.string())
            kept = self._table.filter(pc.invert(pc.is_in(self._table.column(SEGMENT).cast(pa.string()), stems)))
            whole = pa.concat_tables([kept, *parts], promote_options="permissive").unify_dictionaries().combine_chunks()
            self._table = whole.take(pc.sort_indices(whole.column(SEGMENT).cast(pa.string())))
        self._seen = present
        return self._table

    def _coded(self, table: pa.Table) -> pa.Table:
        for name in self._repeated:
            at = table.schema.get_field_index(name)
            if at >= 0 and not pa.types.is_dictionary(table.schema.field(at).type):
                table = table.set_column(at, name, table.column(name).combine_chunks().dictionary_encode())
        return table

    def scan(self, there: Listing, columns: Sequence[str] | None = None) -> Iterator[tuple[Place | None, pa.Table]]:
        """Rows in pieces, newest file first, without those that a newer file replaces.

        ``columns``: to read, beside ``segment``; those that are not there are left out. With each piece the row group
        where it lies; None = small segments, each in the file that ``segment`` names.
        """
        wanted = None if columns is None else [*columns, SEGMENT]
        small = list(there.small)
        for at in range(0, len(small), JOINED):
            part = self.join(small[at:at + JOINED])
            yield None, part if wanted is None else part.select([c for c in wanted if c in part.schema.names])
        newer = [KeyIndex(id_bytes(_hashes(small)))]
        for i, name in enumerate(there.rows):
            with open_parquet(self.folder / name, encoded=self._repeated) as file:
                there_too = [c for c in file.schema_arrow.names if wanted is None or c in wanted]
                for group in range(file.num_row_groups):
                    piece = file.read_row_group(group, columns=there_too, use_threads=False)
                    yield Place(name, group), _without(piece, newer)
                if i + 1 < len(there.rows):
                    newer.append(self._segments_in(file))

    @staticmethod
    def _segments_in(file: pq.ParquetFile) -> KeyIndex:
        stems = [file.read_row_group(group, columns=[SEGMENT], use_threads=False).column(0).unique()
                 for group in range(file.num_row_groups)]
        texts = pa.concat_arrays([pa.array([], pa.string()), *(stem.cast(pa.string()) for stem in stems)]).unique()
        return KeyIndex(id_bytes(pc.utf8_slice_codeunits(texts, len("seg-"))))

    def read(self, place: Place) -> pa.Table:
        """One row group, or a small segment. Raises StoreError, from FileNotFoundError where it was folded since."""
        with open_parquet(self.folder / place.name,
                          encoded=self._repeated if _ROWS.fullmatch(place.name) else ()) as file:
            table = file.read_row_group(place.group, use_threads=False)
        if SEGMENT not in table.schema.names:
            table = table.append_column(SEGMENT, pa.repeat(place.name.removesuffix(".parquet"), table.num_rows))
        return table

    def join(self, names: Sequence[str]) -> pa.Table:
        """Some small segments as one table: a small table for each would take ten times its content."""
        paths = [self.folder / name for name in names]
        if is_remote(self.folder):  # waiting for a server, not computing
            with ThreadPoolExecutor(THREADS) as pool:
                parts = list(pool.map(read_table, paths))
        else:
            parts = [read_table(path) for path in paths]
        named = [part.append_column(SEGMENT, pa.repeat(name.removesuffix(".parquet"), part.num_rows))
                 for name, part in zip(names, parts, strict=True)]
        return pa.concat_tables(named, promote_options="permissive")

    def look(self) -> Listing:
        """Look at the folder. Raises StoreError."""
        try:
            files = list_files(self.folder)
        except OSError as error:
            raise StoreError(f"{self.folder}: cannot be listed: {error.strerror or error}") from error
        small = sorted(name for name in files if name.startswith("seg-") and name.endswith(".parquet"))
        spans = {name: span_of(name) for name in files if _ROWS.fullmatch(name)}
        stale = [name for name, (a, b) in spans.items()
                 if any(c <= a and b <= d and (c, d) != (a, b) for c, d in spans.values())]
        rows = sorted((name for name in spans if name not in stale), key=lambda name: -spans[name][0])
        return Listing({name: files[name] for name in small}, rows, stale, files)


def _again(read: Callable[[], pa.Table], tries: int = 3) -> pa.Table:
    """Read, and look again where a fold has taken a file away in between."""
    for left in reversed(range(tries)):
        try:
            return read()
        except StoreError as error:
            if not left or not isinstance(error.__cause__, FileNotFoundError):
                raise
    raise AssertionError


def span_of(name: str) -> tuple[int, int]:
    """First and last number of a rows file."""
    match = _ROWS.fullmatch(name)
    assert match is not None
    return int(match[1]), int(match[2])


def _hashes(names: Sequence[str]) -> pa.Array:
    return pa.array([name.removeprefix("seg-").removesuffix(".parquet") for name in names], pa.string())


def _without(table: pa.Table, newer: Sequence[KeyIndex]) -> pa.Table:
    """The rows whose segment no newer file has."""
    column = table.column(SEGMENT).combine_chunks()
    texts = column.dictionary.cast(pa.string())
    raw = id_bytes(pc.utf8_slice_codeunits(texts, len("seg-")))
    replaced = np.any([index.find(raw) >= 0 for index in newer], axis=0)
    if not replaced.any():
        return table
    return table.filter(pa.array(~replaced[column.indices.to_numpy()]))
