"""Score segments of one scorer at one fingerprint: numbers of some units of a block, and the error where some lack."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from curate.errors import StoreError
from curate.records import Block, Failure
from curate.seeds import digest
from curate.store.segments import SEGMENT, SegmentFolder
from curate.store.tables import open_parquet, write_table

BASE = pa.schema([("unit_id", pa.string()), ("block_id", pa.string()), ("error", pa.string())])
Value = float | int
SEGMENTS = 16
"""That are opened to learn the columns of a scorer; the first tells unless all of its units failed."""


class Scores:
    """One folder ``scores/<scorer>@<fingerprint>``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.segments = SegmentFolder(folder, BASE)

    def commit(self, block: Block, rows: Mapping[str, Mapping[str, Value]], failures: Mapping[str, Failure]) -> None:
        """Write one segment, named by the block and the unit ids in it. See ``RunStore.commit_scores``."""
        unit_ids = [unit.unit_id for unit in block.units if unit.unit_id in rows or unit.unit_id in failures]
        strangers = (rows.keys() | failures.keys()) - set(unit_ids)
        if strangers:
            raise StoreError(f"scores of unit {min(strangers)}: it is not in block {block.block_id}")
        if not unit_ids:
            return
        columns = sorted({column for row in rows.values() for column in row})
        arrays = [
            pa.array(unit_ids, pa.string()),
            pa.array([block.block_id] * len(unit_ids), pa.string()),
            pa.array([failures[u].reason if u in failures else None for u in unit_ids], pa.string()),
        ]
        fields = list(BASE)
        for column in columns:
            values = [rows.get(u, {}).get(column) for u in unit_ids]
            known = [v for v in values if v is not None]
            if not known:  # no number tells whether it would be whole
                continue
            kind = pa.int64() if known and all(isinstance(v, int | np.integer) for v in known) else pa.float32()
            arrays.append(pa.array(values, kind))
            fields.append(pa.field(column, kind))
        name = f"seg-{digest(block.block_id, *unit_ids)}.parquet"
        write_table(self.folder / name, pa.Table.from_arrays(arrays, schema=pa.schema(fields)))

    def frame(self) -> pd.DataFrame:
        """Indexed by unit_id: score columns (float32, NaN = not scored; nullable Int64 for hashes) and ``error`` ("").

        A unit in two segments counts once: numbers before an error, then the first segment by name.
        """
        table = self.segments.table()
        order = np.argsort(np.asarray(table.column("error").is_valid()), kind="stable")
        table = table.take(pa.array(order)).drop_columns(["block_id", "segment"])
        error = table.column("error").fill_null("")
        columns = {"unit_id": table.column("unit_id").to_pandas(), "error": error.to_pandas()}
        for name in sorted(set(table.schema.names) - set(columns)):
            column = table.column(name)
            if pa.types.is_integer(column.type):
                # nullable, never float: a float64 would lose the low bits of a 64-bit hash
                columns[name] = column.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)
            else:
                columns[name] = column.cast(pa.float32(), safe=False).to_pandas()
        return pd.DataFrame(columns).drop_duplicates("unit_id").set_index("unit_id")

    def columns(self) -> set[str]:
        """Names of the score columns, from the first segment that has any; empty when none of ``SEGMENTS`` has."""
        there = self.segments.look()
        for name in [*there.rows, *there.small][:SEGMENTS]:
            with open_parquet(self.folder / name) as file:
                found = set(file.schema_arrow.names) - {*BASE.names, SEGMENT}
            if found:
                return found
        return set()
