"""What every source does: offer each different image once, in an order that no folder name can change."""

from __future__ import annotations

import dataclasses
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import NamedTuple

from curate.config import StrictModel
from curate.errors import ImageError
from curate.records import SourceItem


class ScanReport(NamedTuple):
    """``found`` entries, of which ``duplicates`` had the bytes of another one and were left out."""

    found: int
    duplicates: int


class Scan(NamedTuple):
    """The items of a source, sorted by content hash, and what was counted on the way."""

    items: list[SourceItem]
    report: ScanReport


class Source(StrictModel, ABC):
    """Base of all source configs. An instance is plain config: any worker process can pickle it and ``read``."""

    def scan(self, name: str = "input") -> Scan:
        """All different images; ``name`` is the source's name in the run config.

        Entries with equal bytes give one item: the one with a caption, else the first by its labels, so the choice does
        not depend on listing order. Bytes that are no image are offered too: the run then records a failed unit.
        Raises SourceError where the source as a whole cannot be read.
        """
        found = [dataclasses.replace(item, source=name) for item in self._entries()]
        found.sort(key=_preference)
        items = [item for i, item in enumerate(found) if i == 0 or item.sha256 != found[i - 1].sha256]
        return Scan(items, ScanReport(found=len(found), duplicates=len(found) - len(items)))

    def read(self, locator: str) -> bytes:
        """The bytes of one item, whose sha256 the scan recorded. ImageError where they cannot be had."""
        try:
            return self._read(locator)
        except OSError as error:
            raise ImageError(f"cannot be read: {error.strerror or error}") from error

    @abstractmethod
    def _entries(self) -> Iterator[SourceItem]:
        """Every entry, in any order, with any ``source``."""

    @abstractmethod
    def _read(self, locator: str) -> bytes: ...


def content_hash(data: bytes) -> str:
    """sha256 in hex: what an image is called in unit ids, wherever it lies."""
    return hashlib.sha256(data).hexdigest()


def unreadable_hash(locator: str) -> str:
    """Stands in for the hash of bytes that could not be read at scan time, so that the entry still becomes a unit."""
    return hashlib.sha256(b"unreadable\0" + locator.encode()).hexdigest()


def _preference(item: SourceItem) -> tuple[str | bool, ...]:
    labels = (item.caption, item.subject, item.style, item.licence, item.attribution)
    return (item.sha256, not item.caption, not item.subject, *labels, item.locator)
