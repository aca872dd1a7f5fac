"""Units found in the plan by their ids, in the memory of one part in 256 of them.

Ids are hashes, so their first byte cuts any number of them into parts of one size. The plan's and those to be found go
into temporary files, and one part after the other is compared: held in memory, an index is 20 bytes a unit and 60 while
it is made.
"""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from curate.errors import StoreError
from curate.keys import ID_BYTES, Ints, KeyIndex, Raw

PARTS = 256
WAITING = 1 << 16
"""Rows that are in memory before they are written."""
Rows = npt.NDArray[Any]


class Parts:
    """Ids, each with a value beside it, in a temporary file that goes with this object."""

    def __init__(self, kind: npt.DTypeLike) -> None:
        """``kind``: of the values."""
        self._kind = np.dtype([("id", np.uint8, (ID_BYTES,)), ("value", kind)])
        self._fd, name = tempfile.mkstemp()
        weakref.finalize(self, os.close, self._fd)
        Path(name).unlink()
        self._waiting: list[Rows] = []
        self._starts: list[Ints] = []
        """Of each stretch of the file: (PARTS + 1,) first row of each part."""

    def __len__(self) -> int:
        return int(self._starts[-1][-1] if self._starts else 0) + sum(map(len, self._waiting))

    def add(self, ids: Raw, values: Rows) -> None:
        """``ids`` (M, 16), ``values`` (M,). Raises StoreError when the disk is full."""
        rows = np.empty(len(ids), dtype=self._kind)
        rows["id"], rows["value"] = ids, values
        self._waiting.append(rows)
        if sum(map(len, self._waiting)) >= WAITING:
            self._write()

    def _write(self) -> None:
        first, rows = int(self._starts[-1][-1] if self._starts else 0), np.concatenate(self._waiting)
        self._waiting = []
        of = rows["id"][:, 0]
        data = memoryview(rows[np.argsort(of, kind="stable")].tobytes())
        try:
            while data:
                data = data[os.write(self._fd, data):]
        except OSError as error:
            raise StoreError(f"{tempfile.gettempdir()}: no temporary file can be written there: {error.strerror}; "
                             "TMPDIR names another folder") from error
        self._starts.append(first + np.concatenate([[0], np.cumsum(np.bincount(of, minlength=PARTS))]))

    def part(self, number: int) -> tuple[Raw, Rows]:
        """(M, 16) ids that begin with this byte and (M,) their values, in the order in which they came."""
        if self._waiting:
            self._write()
        size = self._kind.itemsize
        data = b"".join(os.pread(self._fd, int(starts[number + 1] - starts[number]) * size,
                                 int(starts[number]) * size) for starts in self._starts)
        rows = np.frombuffer(data, dtype=self._kind)
        return rows["id"], rows["value"]


def located(plan: Parts, rows: Parts) -> Iterator[tuple[Ints, Rows]]:
    """(M,) places in the plan and (M,) values of the rows that are of its units, part by part; rows of one unit stay in
    their order. ``plan``: its ids with their places."""
    for number in range(PARTS if len(rows) else 0):
        ids, values = rows.part(number)
        own, places = plan.part(number)
        found = KeyIndex(own).find(ids)
        known = found >= 0
        yield places[found[known]], values[known]
