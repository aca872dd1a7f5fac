"""Parquet in and out: a table as a file that is whole or absent, and files read by row group wherever they lie."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from curate.errors import StoreError
from curate.files import is_remote, write_atomic

# snappy: zstd's set-up takes 0.1 ms a column, five times the rest of reading a segment
WRITING: Final[dict[str, Any]] = {"compression": "snappy", "write_statistics": False}
"""How every parquet file of a run is written."""


def write_table(path: Path, table: pa.Table) -> None:
    """Put a table at ``path`` atomically. Equal tables give equal bytes (for one version of pyarrow)."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **WRITING)
    write_atomic(path, sink.getvalue().to_pybytes())


def read_table(path: Path, columns: Sequence[str] | None = None, *, encoded: Sequence[str] = ()) -> pa.Table:
    """The table at ``path``, or some of its columns (those that are not there are left out); the ``encoded`` ones as
    dictionaries.

    Raises StoreError when it is absent, partial or not parquet.
    """
    try:
        # one read and no memory map: segments are a few KB, and a map would pin a file that may be replaced
        source = pa.BufferReader(path.read_bytes()) if columns is None else _source(path)
        with pq.ParquetFile(source, read_dictionary=[*encoded]) as file:
            return file.read(columns, use_threads=False)
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(path, error) from error


def open_parquet(path: Path, *, encoded: Sequence[str] = ()) -> pq.ParquetFile:
    """A file to read by row group. Raises StoreError as ``read_table`` does."""
    try:
        return pq.ParquetFile(_source(path), read_dictionary=[*encoded])
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(path, error) from error


def _source(path: Path) -> Any:
    return path.open("rb") if is_remote(path) else path


def _unreadable(path: Path, error: Exception) -> StoreError:
    return StoreError(f"{path}: not readable as parquet ({error}); delete it and run again")
