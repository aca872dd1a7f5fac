"""A folder of images, local or remote, with captions from sidecar files or one table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import Field

from curate.errors import SourceError
from curate.progress import count
from curate.records import SourceItem
from curate.sources.base import NAMED, Source, content_hash, unreadable_hash
from curate.sources.labels import ColumnNames, Labels, parse_json, parse_table, parse_txt
from curate.sources.locations import Location, locate, read_url

Strings = Annotated[tuple[str, ...], Field(strict=False)]
"""A YAML list of strings."""

_ENDINGS = ("png", "jpg", "jpeg", "webp", "gif", "bmp", "tif", "tiff", "avif")
_READERS = 16  # threads: hashing is cheap, a remote store answers in tens of milliseconds
_CHUNK = 4096  # files handed to the threads at a time


class FolderSource(Source):
    """Images below ``path`` (a folder or fsspec URL). What a file is, its content decides."""

    kind: Literal["folder"] = "folder"
    path: str
    include: Strings = tuple(f"**/*.{ending}" for ending in _ENDINGS)
    """Globs below ``path``; ``**`` crosses folders."""
    sidecar: Literal["txt", "json"] | None = None
    """``cat.txt`` (a caption) or ``cat.json`` (an object with the keys in ``columns``) beside ``cat.png``."""
    table: str | None = None
    """A .csv, .jsonl or .parquet file (its path or URL) with a row an image; instead of sidecars."""
    table_key: str = "file"
    """The table's column with file names relative to ``path``."""
    columns: ColumnNames = ColumnNames()
    style_from_parent: bool = False
    """The name of the folder that holds the image is its style, where nothing else names one."""
    licence: str = ""
    """Of the images, where nothing else names one; goes into every triplet and the data card."""
    attribution: str = ""
    """Whom to name for the images; goes where the licence goes."""

    def _read(self, locator: str) -> bytes:
        return locate(self.path).read(locator)

    def _entries(self, notices: list[str]) -> Iterator[SourceItem]:
        if self.table and self.sidecar:
            raise SourceError(f"{self.path}: has both table: {self.table} and sidecar: {self.sidecar}; labels come "
                              "from one of them, take the other out")
        place = locate(self.path)
        names = place.files(self.include)
        if not names:
            raise SourceError(f"{self.path}: no file matches {', '.join(self.include)} (include)")
        table = self._table(names)
        notices += _unmatched(self.table, table, names) if self.table else []
        sidecars = self._sidecars(place)
        with ThreadPoolExecutor(_READERS) as pool:
            for start in range(0, len(names), _CHUNK):
                chunk = names[start:start + _CHUNK]
                for name, sha256 in zip(chunk, pool.map(self._hash, chunk), strict=True):
                    labels = table.get(name, Labels())
                    if (sidecar := str(PurePosixPath(name).with_suffix(f".{self.sidecar}"))) in sidecars:
                        labels = labels.completed_by(self._read_sidecar(place, sidecar))
                    labels = labels.completed_by(self._defaults(name))
                    yield SourceItem("", name, place.uri_of(name), sha256, **labels._asdict())

    def _hash(self, name: str) -> str:
        try:
            return content_hash(self._read(name))
        except OSError:
            return unreadable_hash(name)

    def _table(self, names: list[str]) -> dict[str, Labels]:
        if self.table is None:
            return {}
        table = parse_table(read_url(self.table), self.columns, key=self.table_key, where=self.table)
        if table.keys().isdisjoint(names):
            raise SourceError(f"{self.table}: names none of the {len(names)} images in {self.path}; the table has "
                              f"{next(iter(table), 'no rows')!r} where the folder has {names[0]!r}")
        return table

    def _sidecars(self, place: Location) -> frozenset[str]:
        return frozenset(place.files([f"**/*.{self.sidecar}"])) if self.sidecar else frozenset()

    def _read_sidecar(self, place: Location, name: str) -> Labels:
        data = read_url(place.uri_of(name))
        if self.sidecar == "json":
            return parse_json(data, self.columns, where=place.uri_of(name))
        return parse_txt(data, where=place.uri_of(name))

    def _defaults(self, name: str) -> Labels:
        style = PurePosixPath(name).parent.name if self.style_from_parent else ""
        return Labels(style=style, licence=self.licence, attribution=self.attribution)


def _unmatched(path: str, table: Mapping[str, Labels], names: Sequence[str]) -> list[str]:
    """Rows without a picture and pictures without a row, counted and the first ones named."""
    there = set(names)
    lost = [name for name in table if name not in there]
    bare = [name for name in names if name not in table]
    return [*([f"{path}: of {count(len(table), 'row')} {len(lost):,} without a picture in the source: {_named(lost)}"]
              if lost else []),
            *([f"{path}: of {count(len(names), 'picture')} {len(bare):,} without a row: {_named(bare)}"]
              if bare else [])]


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
