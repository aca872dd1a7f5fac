"""Images in parquet files: bytes, Hugging Face's {bytes, path} structs, or paths.

A parquet file is read by row group, and units are drawn in mixed order: with row groups of hundreds of megabytes every
image costs one of them. Rewrite such files with small row groups (HF uses 100 rows) or use tars.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from curate.errors import SourceError
from curate.files import read_bytes
from curate.records import SourceItem
from curate.sources.base import Source, content_hash, unreadable_hash
from curate.sources.labels import ColumnNames, Labels
from curate.sources.locations import Location, locate, split_pattern

_ENDING = ".parquet"
_BATCH = 64  # rows in memory at a time while hashing


class ParquetSource(Source):
    """A row an image. ``path`` is a file, a folder, a glob or a brace expression (local or fsspec URL)."""

    kind: Literal["parquet"] = "parquet"
    path: str
    image: str = "image"
    """Column of image bytes, of {bytes, path} structs, or of paths and URLs."""
    image_root: str | None = None
    """Folder that relative image paths start from; without it, the folder of ``path``."""
    columns: ColumnNames = ColumnNames()
    licence: str = ""
    """Of the images, where nothing else names one; goes into every triplet and the data card."""
    attribution: str = ""
    """Whom to name for the images; goes where the licence goes."""

    def _read(self, locator: str) -> bytes:
        name, _, row = locator.rpartition("#")
        place, _ = self._place()
        path = place.path_of(name)
        group, start = _find_group(_group_starts(place.url, path), int(row))
        value = _group_images(place.url, path, group, self.image)[int(row) - start].as_py()
        return self._bytes_of(value)

    def _entries(self, notices: list[str]) -> Iterator[SourceItem]:
        place, patterns = self._place()
        names = place.files(patterns)
        if not names:
            raise SourceError(f"{self.path}: no parquet file there")
        for name in names:
            try:
                with place.fs.open(place.path_of(name), "rb") as f, pq.ParquetFile(f) as file:
                    yield from self._rows(place, name, file)
            except (pa.ArrowException, OSError) as error:
                raise SourceError(f"{place.uri_of(name)}: not a readable parquet file: {error}") from error

    def _rows(self, place: Location, name: str, file: pq.ParquetFile) -> Iterator[SourceItem]:
        uri = place.uri_of(name)
        there = file.schema_arrow.names
        if self.image not in there:
            raise SourceError(f"{uri}: no column {self.image!r} (image); there are: {', '.join(there)}")
        wanted = [self.image, *self.columns.check(there, where=uri)]
        defaults = Labels(licence=self.licence, attribution=self.attribution)
        row = 0
        for batch in file.iter_batches(batch_size=_BATCH, columns=wanted):
            for values in batch.to_pylist():
                labels = self.columns.labels(values, where=f"{uri}: row {row}").completed_by(defaults)
                locator = f"{name}#{row}"
                sha256 = self._hash(values[self.image], locator)
                yield SourceItem("", locator, f"{uri}#{row}", sha256, **labels._asdict())
                row += 1

    def _hash(self, value: Any, locator: str) -> str:
        try:
            return content_hash(self._bytes_of(value))
        except OSError:
            return unreadable_hash(locator)

    def _bytes_of(self, value: Any) -> bytes:
        """A missing value is an empty image: it becomes a failed unit, like an empty file."""
        if isinstance(value, Mapping):
            value = value.get("bytes") or value.get("path")
        if value is None or isinstance(value, bytes):
            return value or b""
        if not isinstance(value, str):
            kind = type(value).__name__
            raise SourceError(f"{self.path}: column {self.image!r} holds {kind}, neither image bytes nor paths")
        if "://" in value or value.startswith("/"):
            return read_bytes(value)
        place = locate(self.image_root) if self.image_root is not None else self._place()[0]
        return place.read(value)

    def _place(self) -> tuple[Location, list[str]]:
        folder, patterns = split_pattern(self.path, _ENDING)
        return locate(folder), patterns


@lru_cache(maxsize=256)
def _group_starts(url: str, path: str) -> tuple[int, ...]:
    """First row of every row group, and the number of rows."""
    with locate(url).fs.open(path, "rb") as f, pq.ParquetFile(f) as file:
        starts = [0]
        for group in range(file.num_row_groups):
            starts.append(starts[-1] + file.metadata.row_group(group).num_rows)
    return tuple(starts)


@lru_cache(maxsize=2)
def _group_images(url: str, path: str, group: int, column: str) -> Any:
    """One row group's images, kept because the next read often wants a neighbour (two: contents and styles)."""
    with locate(url).fs.open(path, "rb") as f, pq.ParquetFile(f) as file:
        return file.read_row_group(group, columns=[column], use_threads=False).column(column)


def _find_group(starts: tuple[int, ...], row: int) -> tuple[int, int]:
    for group, (start, end) in enumerate(pairwise(starts)):
        if start <= row < end:
            return group, start
    raise OSError(f"row {row} of {starts[-1]}: the file is not the one that was planned")
