"""What is committed of a plan, as arrays by place in the plan: how a driver knows what is left of millions of units.

25 bytes a unit (20 of them to find units by id), and one more for each scorer that is asked about.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from curate.errors import StoreError
from curate.files import list_names
from curate.keys import ID_BYTES, Ints, KeyIndex, id_bytes
from curate.store.layout import RunPaths
from curate.store.plan import PlanFile
from curate.store.segments import SEGMENT, Listing, Place, SegmentFolder
from curate.unit_columns import CHUNK

NOTHING, FAILED, MADE = 0, 1, 2
States = npt.NDArray[np.uint8]
CACHED = 16
"""Pieces of the ledger that are kept for the next question: neighbours in the plan lie together."""


class Standing:
    """The committed candidates of a plan at one moment."""

    def __init__(self, plan: PlanFile, paths: RunPaths, segments: SegmentFolder) -> None:
        self.plan = plan
        self._segments = segments
        self.listing = segments.look()
        """Of the ledger when it was read."""
        self.status: States = np.zeros(len(plan), dtype=np.uint8)
        """(N,) ``NOTHING``, ``FAILED`` (or turned down) or ``MADE``."""
        self._places: list[Place] = []
        self._place_of = np.full(len(plan), -1, dtype=np.int32)
        self._rows = lru_cache(maxsize=CACHED)(self._read)
        tars = _tars(paths)
        for places, table in _placed(segments, self.listing):
            self._note(places, table, tars)

    @property
    def num_done(self) -> int:
        """Units with a row."""
        return int((self.status > NOTHING).sum())

    def _note(self, places: Sequence[Place], table: pa.Table, tars: KeyIndex) -> None:
        """One piece. ``places``: where its rows lie, one for all or one a row."""
        numbers = self.plan.index.find(id_bytes(_flat(table, "unit_id")))
        has_tar = tars.find(id_bytes(_stems(_flat(table, SEGMENT)))) >= 0
        known = np.flatnonzero((numbers >= 0) & has_tar)
        first = len(self._places)
        self._places += places
        at = np.full(table.num_rows, first) if len(places) == 1 else first + np.arange(table.num_rows)
        states = np.where(np.asarray(pc.equal(_flat(table, "status"), "made")), MADE, FAILED).astype(np.uint8)
        better = known[states[known] > self.status[numbers[known]]]
        again = np.flatnonzero(states[known] == MADE)
        twice = known[again[self.status[numbers[known[again]]] == MADE]]  # made in two blocks: seldom
        for row in twice.tolist():
            number, place = int(numbers[row]), int(at[row])
            unit_id = table.column("unit_id")[row].as_py()
            if self._rows(place)[unit_id][SEGMENT] < self._rows(int(self._place_of[number]))[unit_id][SEGMENT]:
                self._place_of[number] = place
        for state in (FAILED, MADE):  # so that of two rows in one piece the better stays
            these = better[states[better] == state][::-1]  # of equals the first segment by name
            self.status[numbers[these]], self._place_of[numbers[these]] = state, at[these]

    def row(self, number: int, unit_id: str) -> Mapping[str, Any]:
        """The ledger row of a committed unit at this place in the plan."""
        try:
            return self._rows(int(self._place_of[number]))[unit_id]
        except StoreError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise
        self._find_again()  # a fold has moved it since
        return self._rows(int(self._place_of[number]))[unit_id]

    def _find_again(self) -> None:
        self._rows.cache_clear()
        self._places = []
        self.listing = self._segments.look()
        for places, table in _placed(self._segments, self.listing):
            numbers = self.plan.index.find(id_bytes(_flat(table, "unit_id")))
            made = np.asarray(pc.equal(_flat(table, "status"), "made"))
            first = len(self._places)
            self._places += places
            at = np.full(table.num_rows, first) if len(places) == 1 else first + np.arange(table.num_rows)
            fits = (numbers >= 0) & (made == (self.status[numbers] == MADE))
            self._place_of[numbers[fits]] = at[fits]

    def _read(self, place: int) -> dict[str, dict[str, Any]]:
        """Unit id -> its row; of two the one that the ledger takes."""
        rows: dict[str, dict[str, Any]] = {}
        for row in self._segments.read(self._places[place]).to_pylist():
            other = rows.get(row["unit_id"])
            if other is None or _rank(row) < _rank(other):
                rows[row["unit_id"]] = row
        return rows


def seen_by(plan: PlanFile, segments: SegmentFolder) -> States:
    """(N,) what a scorer has said of each unit: 0 = nothing, 1 = only an error, 2 = numbers."""
    states = np.zeros(len(plan), dtype=np.uint8)
    for _, table in segments.scan(segments.look(), ["unit_id", "error"]):
        numbers = plan.index.find(id_bytes(_flat(table, "unit_id")))
        known = np.flatnonzero(numbers >= 0)
        said = np.where(np.asarray(table.column("error").is_null()), np.uint8(2), np.uint8(1))[known]
        np.maximum.at(states, numbers[known], said)
    return states


def numbers_of(plan: PlanFile, segments: SegmentFolder, wanted: Ints) -> pd.DataFrame:
    """The scorer's numbers for the units at the ``wanted`` (M,) rising places, at least one of them; indexed by place,
    NaN or NA = none."""
    values: dict[str, npt.NDArray[Any]] = {}
    lacking: dict[str, npt.NDArray[np.bool_]] = {}
    for _, table in segments.scan(segments.look()):
        numbers = plan.index.find(id_bytes(_flat(table, "unit_id")))
        at = np.searchsorted(wanted, numbers).clip(max=len(wanted) - 1)
        hits = np.flatnonzero((wanted[at] == numbers) & np.asarray(table.column("error").is_null()))
        for name in sorted(set(table.schema.names) - {"unit_id", "block_id", "error", SEGMENT}):
            column = table.column(name).take(pa.array(hits))
            whole = pa.types.is_integer(column.type)
            mine = values.setdefault(name, np.zeros(len(wanted), dtype=np.int64 if whole else np.float32))
            mine[at[hits]] = column.fill_null(0).to_numpy()
            lacking.setdefault(name, np.ones(len(wanted), dtype=bool))[at[hits]] = np.asarray(column.is_null())
    for name, mine in values.items():
        if mine.dtype == np.float32:
            mine[lacking[name]] = np.nan
    return pd.DataFrame({name: pd.arrays.IntegerArray(mine, lacking[name]) if mine.dtype == np.int64 else mine
                         for name, mine in values.items()}, index=wanted)


def _placed(segments: SegmentFolder, there: Listing) -> Iterator[tuple[list[Place], pa.Table]]:
    """Ids and status in pieces, and where each piece lies: one place, or one for each row."""
    for place, table in segments.scan(there, ["unit_id", "status"]):
        stems = [] if place else table.column(SEGMENT).to_pylist()
        yield [place] if place else [Place(f"{stem}.parquet", 0) for stem in stems], table


def _rank(row: Mapping[str, Any]) -> tuple[bool, str]:
    """Made before failed, then the first segment by name."""
    return row["status"] != "made", row[SEGMENT]


def _flat(table: pa.Table, name: str) -> pa.Array:
    """A column as one array of plain values."""
    column = table.column(name).combine_chunks()
    return column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column


def _stems(texts: pa.Array) -> pa.Array:
    return pc.utf8_slice_codeunits(texts, len("seg-"))


def _tars(paths: RunPaths) -> KeyIndex:
    """Of the ids in the names of all tars."""
    names = (name.removeprefix("seg-").removesuffix(".tar") for name in list_names(paths.candidates, ".tar"))
    parts = iter(lambda: list(islice(names, CHUNK)), [])
    return KeyIndex(np.concatenate([np.zeros((0, ID_BYTES), dtype=np.uint8),
                                    *(id_bytes(pa.array(part, pa.string())) for part in parts)]))
