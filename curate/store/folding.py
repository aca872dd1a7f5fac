"""Folding: small segments become larger files, so that a million rows are some twenty files and a thousand small ones.

Folding number n makes ``rows-n-n`` of all small segments; ``FAN`` files of equal span become one of ``FAN`` times the
span, up to 256 times ``FOLD`` segments. So every row is written four times in all, its commit included.

Nothing is lost or counted twice when a fold dies: the new file takes its name whole, then the old ones are removed, and
readers (``store.segments``) know which of two files is the newer, or lies within another's span.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq

from curate.files import list_files, remove_files, writing
from curate.store.segments import Listing, SegmentFolder, span_of
from curate.store.tables import WRITING, open_parquet, write_table

FOLD = 1024
"""Small segments that are folded at once: they are in memory then."""
FAN = 16
SPANS = (1, FAN)
"""Of the files that are folded further."""
GROUP_ROWS = 8192
"""Most rows of a row group: what reading one row costs, and what a fold of large files holds in memory."""


def fold(segments: SegmentFolder, *, least: int = FOLD) -> None:
    """Fold the small segments if there are at least so many, then rows files where ``FAN`` are alike.

    Only one process at a time may do this (the driver); others may read, and commit other segments.
    """
    there = segments.look()
    if len(there.small) >= max(1, least):
        remove_files(segments.folder, there.stale)
        names = list(there.small)
        last = max((span_of(name)[1] for name in there.rows), default=0)
        for number, at in enumerate(range(0, len(names), FOLD), last + 1):
            part = names[at:at + FOLD]
            write_table(segments.folder / name_of(number, number), segments.join(part))
            now = list_files(segments.folder)  # one that was written again since it was read stays
            remove_files(segments.folder, [name for name in part if now.get(name) == there.small[name]])
    for span in SPANS:
        while _merge(segments, span):
            pass


def name_of(first: int, last: int) -> str:
    """Of a rows file."""
    return f"rows-{first:06d}-{last:06d}.parquet"


def _merge(segments: SegmentFolder, span: int) -> bool:
    """The oldest ``FAN`` files of this span become one; whether there were so many."""
    spans = {name: span_of(name) for name in segments.look().rows}
    alike = [name for name, (first, last) in spans.items() if last - first + 1 == span][-FAN:]
    if len(alike) < FAN:
        return False
    schemas = []
    for name in alike:
        with open_parquet(segments.folder / name) as file:
            schemas.append(file.schema_arrow)
    schema = pa.unify_schemas(schemas, promote_options="permissive")
    path = segments.folder / name_of(spans[alike[-1]][0], spans[alike[0]][1])
    with writing(path) as file, pq.ParquetWriter(file, schema, **WRITING) as writer:
        for _, table in segments.scan(Listing({}, alike, [], {})):
            whole = pa.concat_tables([schema.empty_table(), _plain(table)], promote_options="permissive")
            writer.write_table(whole.select(schema.names).cast(schema), row_group_size=GROUP_ROWS)
    remove_files(segments.folder, alike)
    return True


def _plain(table: pa.Table) -> pa.Table:
    """Dictionaries as texts."""
    types = [f.with_type(f.type.value_type) if pa.types.is_dictionary(f.type) else f for f in table.schema]
    return table.cast(pa.schema(types))
