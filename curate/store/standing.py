"""What is committed of a plan, as arrays by place in the plan: how a driver knows what is left of millions of units.

5 bytes a unit, and one more for each scorer that is asked about; 20 a segment while the ledger is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache, partial
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
from curate.store.parts import Parts, located
from curate.store.plan import PlanFile
from curate.store.segments import SEGMENT, Listing, Place, SegmentFolder
from curate.unit_columns import CHUNK

NOTHING, FAILED, MADE = 0, 1, 2
States = npt.NDArray[np.uint8]
CACHED = 8
"""Pieces of the ledger that are kept for the next question: neighbours in the plan lie in the same few."""
PLACE = "place"
_ROW = np.dtype([("state", np.uint8), (PLACE, np.int32)])
_WANTED = np.dtype([("row", np.int64), ("at", np.int64)])


class Standing:
    """The committed candidates of a plan at one moment."""

    def __init__(self, plan: PlanFile, paths: RunPaths, segments: SegmentFolder) -> None:
        self.plan = plan
        self._segments = segments
        self.listing = segments.look()
        """Of the ledger when it was read."""
        self._places: list[Place] = []
        self._pieces = lru_cache(maxsize=CACHED)(self._read)
        self.status, self._place_of = self._look(_tars(paths))
        """(N,) ``NOTHING``, ``FAILED`` (or turned down) or ``MADE``; (N,) where the row lies: places count from 1."""

    @property
    def num_done(self) -> int:
        """Units with a row."""
        return int(np.count_nonzero(self.status))

    def _look(self, tars: KeyIndex | None = None) -> tuple[States, npt.NDArray[np.int32]]:
        """Read the listed ledger; with ``tars`` only rows whose tar is there."""
        self._places = []
        rows = Parts(_ROW)
        for table in self._placed():
            if tars is not None:
                table = table.filter(pa.array(tars.find(id_bytes(_stems(_flat(table, SEGMENT)))) >= 0))
            made = np.asarray(pc.equal(_flat(table, "status"), "made"))
            values = np.empty(table.num_rows, dtype=_ROW)
            values["state"], values[PLACE] = np.where(made, MADE, FAILED), table.column(PLACE).to_numpy()
            rows.add(id_bytes(_flat(table, "unit_id")), values)
        status = np.zeros(len(self.plan), dtype=np.uint8)
        place_of = np.zeros(len(self.plan), dtype=np.int32)
        for numbers, values in _located(self.plan, rows):
            np.maximum.at(status, numbers, values["state"])
            best = np.flatnonzero(values["state"] == status[numbers])[::-1]
            places, numbers, made = values[PLACE][best], numbers[best], values["state"][best] == MADE
            place_of[numbers] = places  # of equals the first: it comes last here
            twice = made & (places != place_of[numbers])  # in two blocks: seldom
            for number, place in zip(numbers[twice].tolist(), places[twice].tolist(), strict=True):
                place_of[number] = min(int(place_of[number]), place, key=partial(self._segment, number))
        return status, place_of

    def _segment(self, number: int, place: int) -> str:
        """Of this unit's row at this place."""
        return str(self._row(place, self.plan.units(number, number + 1)[0].unit_id)[SEGMENT])

    def _placed(self) -> Iterator[pa.Table]:
        """Ids and status in pieces, with a number of the place of each row."""
        for place, table in self._segments.scan(self.listing, ["unit_id", "status"]):
            if place is not None:
                at = pa.repeat(len(self._places) + 1, table.num_rows)
                self._places.append(place)
            else:
                stems = table.column(SEGMENT).combine_chunks().dictionary_encode()
                at = pc.add(stems.indices, len(self._places) + 1)
                self._places += [Place(f"{stem}.parquet", 0) for stem in stems.dictionary.to_pylist()]
            yield table.append_column(PLACE, at)

    def row(self, number: int, unit_id: str) -> Mapping[str, Any]:
        """The ledger row of a committed unit at this place in the plan."""
        try:
            return self._row(int(self._place_of[number]), unit_id)
        except StoreError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise
        self._pieces.cache_clear()  # a fold has moved it since
        self.listing = self._segments.look()
        _, self._place_of = self._look()
        return self._row(int(self._place_of[number]), unit_id)

    def _row(self, place: int, unit_id: str) -> dict[str, Any]:
        table, at = self._pieces(place)
        row: dict[str, Any] = table.slice(at[unit_id], 1).to_pylist()[0]
        return row

    def _read(self, place: int) -> tuple[pa.Table, dict[str, int]]:
        """A piece, and unit id -> its row there; of two the one that the ledger takes."""
        table = self._segments.read(self._places[place - 1])
        ranks = [(status != "made", segment) for status, segment in zip(
            table.column("status").to_pylist(), table.column(SEGMENT).to_pylist(), strict=True)]
        at: dict[str, int] = {}
        for row, unit_id in enumerate(table.column("unit_id").to_pylist()):
            if unit_id not in at or ranks[row] < ranks[at[unit_id]]:
                at[unit_id] = row
        return table, at


def seen_by(plan: PlanFile, segments: SegmentFolder) -> States:
    """(N,) what a scorer has said of each unit: 0 = nothing, 1 = only an error, 2 = numbers."""
    states = np.zeros(len(plan), dtype=np.uint8)
    rows = Parts(np.uint8)
    for _, table in segments.scan(segments.look(), ["unit_id", "error"]):
        said = np.where(np.asarray(table.column("error").is_null()), np.uint8(2), np.uint8(1))
        rows.add(id_bytes(_flat(table, "unit_id")), said)
    for numbers, said in _located(plan, rows):
        np.maximum.at(states, numbers, said)
    return states


def numbers_of(plan: PlanFile, segments: SegmentFolder, wanted: Ints) -> pd.DataFrame:
    """The scorer's numbers for the units at the ``wanted`` (M,) rising places, at least one of them; indexed by place,
    NaN or NA = none."""
    there = segments.look()
    at, first = _wanted_rows(plan, segments, there, wanted), 0
    values: dict[str, npt.NDArray[Any]] = {}
    lacking: dict[str, npt.NDArray[np.bool_]] = {}
    for _, table in segments.scan(there):
        start, stop = np.searchsorted(at["row"], (first, first + table.num_rows))
        mine, first = at[start:stop], first + table.num_rows
        hits = table.take(pa.array(mine["row"] - (first - table.num_rows)))
        good = np.asarray(hits.column("error").is_null())
        for name in sorted(set(table.schema.names) - {"unit_id", "block_id", "error", SEGMENT}):
            column = hits.column(name)
            whole = pa.types.is_integer(column.type)
            own = values.setdefault(name, np.zeros(len(wanted), dtype=np.int64 if whole else np.float32))
            own[mine["at"][good]] = column.fill_null(0).to_numpy()[good]
            none = lacking.setdefault(name, np.ones(len(wanted), dtype=bool))
            none[mine["at"][good]] = np.asarray(column.is_null())[good]
    for name, own in values.items():
        if own.dtype == np.float32:
            own[lacking[name]] = np.nan
    return pd.DataFrame({name: pd.arrays.IntegerArray(own, lacking[name]) if own.dtype == np.int64 else own
                         for name, own in values.items()}, index=wanted)


def _wanted_rows(plan: PlanFile, segments: SegmentFolder, there: Listing, wanted: Ints) -> npt.NDArray[Any]:
    """``row`` (of all that a scan gives, rising) of each row of a wanted unit, and ``at``, its place in ``wanted``."""
    rows, first = Parts(np.int64), 0
    for _, table in segments.scan(there, ["unit_id"]):
        rows.add(id_bytes(_flat(table, "unit_id")), first + np.arange(table.num_rows))
        first += table.num_rows
    found = [np.zeros(0, dtype=_WANTED)]
    for numbers, row in _located(plan, rows):
        at = np.searchsorted(wanted, numbers).clip(max=len(wanted) - 1)
        hit = wanted[at] == numbers
        found.append(np.rec.fromarrays([row[hit], at[hit]], dtype=_WANTED))
    return np.sort(np.concatenate(found), order="row")


def _located(plan: PlanFile, rows: Parts) -> Iterator[tuple[Ints, npt.NDArray[Any]]]:
    """See ``curate.store.parts``; where there are no rows the plan is not read."""
    return located(plan.parts, rows) if len(rows) else iter(())


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
