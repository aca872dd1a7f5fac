"""What every source does: offer each different image once, in an order that no folder name can change."""

from __future__ import annotations

import dataclasses
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from curate.config import StrictModel
from curate.errors import ImageError
from curate.item_columns import ItemColumns
from curate.keys import Ints
from curate.records import SourceItem

NAMED = 3
"""Files that a message names; more are counted."""


class ScanReport(NamedTuple):
    """``found`` entries, of which ``duplicates`` had the bytes of another one and were left out."""

    found: int
    duplicates: int
    left_out: tuple[str, ...] = ()
    """Names of the first ``NAMED`` duplicates, each with the file that stands for it."""
    items: int = 0
    """Different images; of these have a ..."""
    captions: int = 0
    subjects: int = 0
    styles: int = 0
    notices: tuple[str, ...] = ()
    """What may be a mistake, in words."""


class Scan(NamedTuple):
    """The items of a source, sorted by content hash, and what was counted on the way."""

    items: ItemColumns
    report: ScanReport


class Source(StrictModel, ABC):
    """Base of all source configs. An instance is plain config: any worker process can pickle it and ``read``."""

    def scan(self, name: str = "input") -> Scan:
        """All different images; ``name`` is the source's name in the run config.

        Entries with equal bytes give one item: the one with a caption, else the first by its labels, so the choice does
        not depend on listing order. Bytes that are no image are offered too: the run then records a failed unit.
        Raises SourceError where the source as a whole cannot be read.
        """
        notices: list[str] = []
        found = ItemColumns.of(dataclasses.replace(item, source=name) for item in self._entries(notices))
        items = found.take(_different(found))
        return Scan(items, ScanReport(found=len(found), duplicates=len(found) - len(items),
                                      left_out=_left_out(found, items), items=len(items),
                                      captions=items.told("caption"), subjects=items.told("subject"),
                                      styles=items.told("style"), notices=tuple(notices)))

    def read(self, locator: str) -> bytes:
        """The bytes of one item, whose sha256 the scan recorded. ImageError where they cannot be had."""
        try:
            return self._read(locator)
        except OSError as error:
            raise ImageError(f"cannot be read: {error.strerror or error}") from error

    @abstractmethod
    def _entries(self, notices: list[str]) -> Iterator[SourceItem]:
        """Every entry, in any order, with any ``source``. ``notices`` takes what may be a mistake of the user's."""

    @abstractmethod
    def _read(self, locator: str) -> bytes: ...


def content_hash(data: bytes) -> str:
    """sha256 in hex: what an image is called in unit ids, wherever it lies."""
    return hashlib.sha256(data).hexdigest()


def unreadable_hash(locator: str) -> str:
    """Stands in for the hash of bytes that could not be read at scan time, so that the entry still becomes a unit."""
    return hashlib.sha256(b"unreadable\0" + locator.encode()).hexdigest()


def _different(items: ItemColumns) -> Ints:
    """Places of the items in the order of their hashes, one for each hash."""
    begins = np.ascontiguousarray(items.sums[:, :8]).view(">u8").ravel()
    order: Ints = np.argsort(begins, kind="stable")
    same = np.flatnonzero(begins[order[1:]] == begins[order[:-1]])
    if not len(same):
        return order
    dropped: list[int] = []
    for run in np.split(same, np.flatnonzero(np.diff(same) > 1) + 1):  # items whose hashes begin alike: nearly always
        places = order[run[0]:run[-1] + 2]  # the same image
        one = {int(place): items[int(place)] for place in places}
        ranked = sorted(one, key=lambda place: _preference(one[place]))
        order[run[0]:run[-1] + 2] = ranked
        sums = [one[place].sha256 for place in ranked]
        dropped += [int(run[0]) + i for i in range(1, len(ranked)) if sums[i] == sums[i - 1]]
    return np.delete(order, dropped)


def _left_out(found: ItemColumns, items: ItemColumns) -> tuple[str, ...]:
    """``copy.png (as cat.png)`` for the first duplicates."""
    if len(found) == len(items):
        return ()
    taken = np.zeros(len(found), dtype=bool)
    taken[items.rows] = True
    dropped = [found[int(place)] for place in np.flatnonzero(~taken)[:NAMED]]
    begins = np.ascontiguousarray(items.sums[:, :8]).view(">u8").ravel()
    named = []
    for item in dropped:
        alike = (items[int(place)] for place in np.flatnonzero(begins == int(item.sha256[:16], 16)))
        stays = next(one for one in alike if one.sha256 == item.sha256)
        named.append(f"{item.file_name} (as {stays.file_name})")
    return tuple(named)


def _preference(item: SourceItem) -> tuple[str | bool, ...]:
    labels = (item.caption, item.subject, item.style, item.licence, item.attribution)
    return (item.sha256, not item.caption, not item.subject, *labels, item.locator)
