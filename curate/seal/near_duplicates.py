"""Near-duplicates: targets whose perceptual hashes differ in a few bits only.

One numpy pass over the kept hashes for each unit: xor and popcount of 100,000 hashes take about 0.1 ms, so 100,000
units take 5-10 s and a million a quarter of an hour: far below the time of generating them, and nothing to tune.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pydantic import Field

from curate.config import StrictModel

Hashes = npt.NDArray[np.uint64]


class NearDuplicateConfig(StrictModel):
    """Reject the later (in plan order) of two kept targets that look alike but come of different sources."""

    column: str = "phash.bits"
    """A 64-bit hash as int64; similar images differ in few bits."""
    max_distance: int = Field(default=4, ge=0, le=31)
    """Bits. Unrelated images differ in about 32 of 64; 4 survives recompression and small crops."""


class HashIndex:
    """Hashes that are kept so far, to be asked for one within ``max_distance`` bits."""

    def __init__(self, capacity: int, max_distance: int) -> None:
        self._hashes: Hashes = np.zeros(capacity, dtype=np.uint64)
        self._sources = np.zeros(capacity, dtype=np.int64)
        self._owners: list[str] = []
        self._max_distance = max_distance

    def add(self, owner: str, bits: int, source: int = -1) -> None:
        """Keep a hash (a signed or unsigned 64-bit integer) of ``owner``."""
        self._hashes[len(self._owners)] = bits & (2**64 - 1)
        self._sources[len(self._owners)] = source
        self._owners.append(owner)

    def find(self, bits: int, *, but_of: int = -2) -> str | None:
        """The earliest owner of a hash within the distance whose source is not ``but_of``; None if there is none."""
        n = len(self._owners)
        distances = np.bitwise_count(self._hashes[:n] ^ np.uint64(bits & (2**64 - 1)))
        near = np.flatnonzero((distances <= self._max_distance) & (self._sources[:n] != but_of))
        return self._owners[near[0]] if len(near) else None


def near_duplicates(unit_ids: Sequence[str], bits: Sequence[int], sources: Sequence[str], *, max_distance: int,
                    ) -> dict[str, str]:
    """Rejected unit -> the earlier kept unit it looks like.

    Units come in plan order. Two units of the same source (one target in both layouts, one content in many styles)
    share their structure by design and are no duplicates of each other.
    """
    index = HashIndex(len(unit_ids), max_distance)
    numbers = {source: i for i, source in enumerate(dict.fromkeys(sources))}
    found: dict[str, str] = {}
    for unit_id, value, source in zip(unit_ids, bits, sources, strict=True):
        other = index.find(value, but_of=numbers[source])
        if other is None:
            index.add(unit_id, value, numbers[source])
        else:
            found[unit_id] = other
    return found
