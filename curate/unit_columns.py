"""Units as columns: a plan of millions in some 30 bytes a unit over its items, read one by one as ``Unit``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from sys import intern
from typing import Any, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.item_columns import ITEM_FIELDS, ItemColumns, Rows
from curate.keys import Raw, to_hex
from curate.records import InputRole, RecipeName, SourceItem, Unit

CHUNK = 16_384
"""Units that are strings at one time."""
LABELS = ("recipe", "layout", "side", "style")
UNIT_FIELDS = tuple(f.name for f in fields(Unit) if f.name != "inputs")
_ITEM = pa.struct([(name, pa.string()) for name in ("role", *ITEM_FIELDS)])
SCHEMA = pa.schema([*((name, pa.int64() if name == "index" else pa.string()) for name in UNIT_FIELDS),
                    ("inputs", pa.list_(_ITEM))])
Codes = npt.NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Labels:
    """A column of few different values."""

    values: tuple[str, ...]
    codes: Codes
    """(N,) positions in ``values``."""

    def text(self, start: int, stop: int) -> pa.Array:
        """Some of it as strings."""
        return pa.array(self.values, pa.string()).take(pa.array(self.codes[start:stop]))

    def counts(self) -> dict[str, int]:
        """How often each value occurs; those that do not are left out."""
        return {value: n for i, value in enumerate(self.values) if (n := int((self.codes == i).sum()))}


@dataclass(frozen=True, slots=True)
class Part:
    """What each of N units takes of a list of items: its place there, and the role as an input (None: its words
    only)."""

    role: InputRole | None
    items: ItemColumns
    places: Rows


@dataclass(frozen=True)
class UnitColumns(Sequence[Unit]):
    """A plan. Caption and subject of a unit are those of its ``target``, the style reference's those of ``other``."""

    recipe: RecipeName
    ids: Raw
    """(N, 16) unit ids in plan order."""
    layouts: Labels
    sides: Labels
    target: Part
    other: Part
    style_of: Part
    """Which of the two names the style."""

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, which: int) -> Unit: ...
    @overload
    def __getitem__(self, which: slice) -> list[Unit]: ...

    def __getitem__(self, which: int | slice) -> Unit | list[Unit]:
        if isinstance(which, slice):
            start, stop, step = which.indices(len(self))
            return units_of(self.batch(start, max(start, stop)))[::step]
        place = range(len(self))[which]
        return units_of(self.batch(place, place + 1))[0]

    def __iter__(self) -> Iterator[Unit]:
        for batch in batches(self):
            yield from units_of(batch)

    @property
    def num_styles(self) -> int:
        """Different styles."""
        codes, _ = self.style_of.items.codes("style")
        return len(np.unique(codes[self.style_of.places]))

    def batch(self, start: int, stop: int) -> pa.RecordBatch:
        """Rows of ``SCHEMA``: the units from ``start`` to before ``stop``."""
        stop = min(stop, len(self))
        n = stop - start
        own: dict[str, pa.Array] = {
            "unit_id": to_hex(self.ids[start:stop]), "index": pa.array(np.arange(start, stop, dtype=np.int64)),
            "recipe": pa.repeat(self.recipe, n), "layout": self.layouts.text(start, stop),
            "side": self.sides.text(start, stop)}
        for part, words, subject in ((self.target, "caption", "subject"),
                                     (self.other, "style_caption", "style_subject")):
            at = part.places[start:stop]
            own[subject] = part.items.at("subject", at)
            caption = part.items.at("caption", at)
            own[words] = pc.if_else(pc.equal(caption, ""), own[subject], caption)
        own["style"] = self.style_of.items.at("style", self.style_of.places[start:stop])
        parts = sorted((part for part in (self.target, self.other) if part.role), key=lambda part: str(part.role))
        own["inputs"] = _inputs(parts, start, stop)
        return pa.record_batch([own[name] for name in SCHEMA.names], schema=SCHEMA)


def _inputs(parts: Sequence[Part], start: int, stop: int) -> pa.Array:
    """Lists of items, in the order of ``parts``, which is that of their roles' names."""
    n, k = stop - start, len(parts)
    mixed = pa.array(np.arange(n * k, dtype=np.int64).reshape(k, n).T.ravel())
    columns = [pa.concat_arrays([pa.repeat(str(part.role), n) for part in parts]).take(mixed)]
    columns += [pa.concat_arrays([part.items.at(name, part.places[start:stop]) for part in parts]).take(mixed)
                for name in ITEM_FIELDS]
    offsets = pa.array(np.arange(n + 1, dtype=np.int32) * np.int32(k))
    return pa.ListArray.from_arrays(offsets, pa.StructArray.from_arrays(columns, fields=list(_ITEM)))


def batches(units: Sequence[Unit], block_size: int = 1) -> Iterator[pa.RecordBatch]:
    """A plan in pieces of whole blocks, about ``CHUNK`` rows of ``SCHEMA`` each."""
    step = max(1, CHUNK // block_size) * block_size
    for start in range(0, len(units), step):
        if isinstance(units, UnitColumns):
            yield units.batch(start, start + step)
        else:
            yield _of_objects(units[start:start + step])


def _of_objects(units: Sequence[Unit]) -> pa.RecordBatch:
    columns: dict[str, list[Any]] = {name: [getattr(unit, name) for unit in units] for name in UNIT_FIELDS}
    columns["inputs"] = [[{"role": role, **{name: getattr(item, name) for name in ITEM_FIELDS}}
                          for role, item in sorted(unit.inputs.items())] for unit in units]
    return pa.record_batch([pa.array(columns[f.name], f.type) for f in SCHEMA], schema=SCHEMA)


def units_of(batch: pa.RecordBatch, items: dict[tuple[str, ...], SourceItem] | None = None) -> list[Unit]:
    """The units in rows of ``SCHEMA``. Equal items are one object; ``items`` keeps them from call to call."""
    known = {} if items is None else items
    columns = [batch.column(name).to_pylist() for name in UNIT_FIELDS]
    units = []
    for values, entries in zip(zip(*columns, strict=True), batch.column("inputs").to_pylist(), strict=True):
        own: dict[str, Any] = {name: intern(value) if name in LABELS else value
                               for name, value in zip(UNIT_FIELDS, values, strict=True)}
        roles: dict[Any, SourceItem] = {intern(entry["role"]): _shared(entry, known) for entry in entries}
        units.append(Unit(**own, inputs=roles))
    return units


def _shared(entry: dict[str, str], items: dict[tuple[str, ...], SourceItem]) -> SourceItem:
    key = tuple(entry[name] for name in ITEM_FIELDS)
    if key not in items:
        items[key] = SourceItem(*key)
    return items[key]
