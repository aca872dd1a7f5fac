"""What is known of an image besides its pixels, and how tables, sidecars and tar members say it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from curate.config import StrictModel
from curate.errors import SourceError


class Labels(NamedTuple):
    """Words about one image; the empty string = unknown."""

    caption: str = ""
    subject: str = ""
    style: str = ""
    licence: str = ""
    attribution: str = ""

    def completed_by(self, other: Labels) -> Labels:
        """These labels, with ``other``'s where these are empty."""
        return Labels(*(mine or theirs for mine, theirs in zip(self, other, strict=True)))


class ColumnNames(StrictModel):
    """Which column or JSON key holds which label. One that is not there is an error only if it was named here."""

    caption: str = "caption"
    subject: str = "subject"
    style: str = "style"
    licence: str = "licence"
    attribution: str = "attribution"

    def labels(self, row: Mapping[str, Any], *, where: str) -> Labels:
        """The labels of one row; SourceError (beginning with ``where``) for a value that is not text."""
        return Labels(*(_text(row.get(getattr(self, field)), f"{where}: {getattr(self, field)}")
                        for field in Labels._fields))

    def check(self, names: Iterable[str], *, where: str) -> list[str]:
        """The label columns among ``names``; SourceError if one that the config names is missing."""
        there = list(names)
        for field in sorted(self.model_fields_set):
            if getattr(self, field) not in there:
                raise SourceError(f"{where}: no column {getattr(self, field)!r} (columns.{field}); there are: "
                                  f"{', '.join(there)}")
        return [getattr(self, field) for field in Labels._fields if getattr(self, field) in there]


def _text(value: object, where: str) -> str:
    if value is None:
        return ""
    if isinstance(value, (list, dict)):
        raise SourceError(f"{where}: expected text, found a {type(value).__name__}")
    return str(value).strip()


def parse_json(data: bytes, columns: ColumnNames, *, where: str) -> Labels:
    """Labels of a JSON object (a sidecar file, a tar member)."""
    try:
        row = json.loads(data)
    except ValueError as error:
        raise SourceError(f"{where}: not valid JSON: {error}") from error
    if not isinstance(row, dict):
        raise SourceError(f"{where}: expected a JSON object, found a {type(row).__name__}")
    return columns.labels(row, where=where)


def parse_txt(data: bytes, *, where: str) -> Labels:
    """A caption: the whole of a UTF-8 text, line breaks turned to spaces."""
    try:
        return Labels(caption=" ".join(data.decode("utf-8-sig").split()))
    except UnicodeDecodeError as error:
        raise SourceError(f"{where}: the caption is not UTF-8 text (byte {error.start})") from error


def parse_table(data: bytes, columns: ColumnNames, *, key: str, where: str) -> dict[str, Labels]:
    """Labels by file name from a CSV, JSONL or parquet table (told apart by the ending of ``where``)."""
    rows = _rows(data, where)
    names = list(dict.fromkeys(name for row in rows for name in row))
    if key not in names:
        raise SourceError(f"{where}: no column {key!r} with the file names (table_key); there are: {', '.join(names)}")
    columns.check(names, where=where)
    table: dict[str, Labels] = {}
    for i, row in enumerate(rows, start=1):
        name = _text(row.get(key), where).removeprefix("./")
        if name in table:
            raise SourceError(f"{where}: row {i}: {name!r} stands there twice")
        table[name] = columns.labels(row, where=f"{where}: row {i}")
    return table


def _rows(data: bytes, where: str) -> list[dict[str, Any]]:
    try:
        if where.endswith(".parquet"):
            import pyarrow as pa
            import pyarrow.parquet as pq

            rows: list[dict[str, Any]] = pq.read_table(pa.BufferReader(data)).to_pylist()
            return rows
        text = data.decode("utf-8-sig")
        if where.endswith(".csv"):
            return list(csv.DictReader(io.StringIO(text, newline="")))
        if where.endswith((".jsonl", ".ndjson")):
            return [dict(json.loads(line)) for line in text.splitlines() if line.strip()]
    except (ValueError, TypeError) as error:  # ArrowInvalid, JSONDecodeError and UnicodeDecodeError are ValueErrors
        raise SourceError(f"{where}: not a readable table: {error}") from error
    raise SourceError(f"{where}: a table is a .csv, .jsonl or .parquet file")
