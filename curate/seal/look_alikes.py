"""Which of many 64-bit hashes are within a few bits of one another, all pairs at once.

Pigeonhole over blocks of bits: cut 64 bits into d + 2 blocks; d differing bits leave at least two blocks untouched, so
every pair within distance d agrees in some two blocks. Sorting by each two blocks (15 sorts for d = 4) brings those
pairs together (the blocked variant of multi-index hashing: Manku, Jain and Das Sarma, WWW 2007; Norouzi, Punjani and
Fleet, CVPR 2012). A million hashes take about a second; a distance too wide for that is compared pair by pair.
"""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

WIDEST = 6
"""Bits up to which sorting by blocks pays."""
FEW = 2048
"""So many hashes are compared pair by pair in any case."""
ROWS = 256
"""Hashes that are compared with all others at once, which bounds memory."""


class LookAlikes:
    """The different hashes of some (``among``) of N units, and which of them are near one another."""

    def __init__(self, hashes: Hashes, max_distance: int, *, among: Bools) -> None:
        distinct, codes = np.unique(hashes[among], return_inverse=True)
        self.codes: Ints = np.zeros(len(hashes), dtype=np.int64)
        """(N,) which of the different hashes each unit has; of those among them only."""
        self.codes[among] = codes
        self.count = len(distinct)
        left, right = near_pairs(distinct, max_distance)
        self.left: Ints = np.concatenate([left, right])
        self.right: Ints = np.concatenate([right, left])
        order = np.argsort(self.left, kind="stable")
        self.left, self.right = self.left[order], self.right[order]
        self._starts = np.searchsorted(self.left, np.arange(self.count + 1))

    def neighbours(self, code: int) -> Ints:
        """Other hashes within the distance of this one."""
        return self.right[self._starts[code]:self._starts[code + 1]]

    def near_any(self, present: Bools) -> Bools:
        """(count,) whether a hash is present or within the distance of one that is."""
        near = present.copy()
        near[self.left[present[self.right]]] = True
        return near


def near_pairs(distinct: Hashes, max_distance: int) -> tuple[Ints, Ints]:
    """Positions (left < right) of all pairs of different hashes that differ in at most ``max_distance`` bits."""
    none = np.zeros(0, dtype=np.int64)
    if max_distance < 1 or len(distinct) < 2:
        return none, none
    by_blocks = max_distance <= WIDEST and len(distinct) > FEW
    found = _by_blocks(distinct, max_distance) if by_blocks else _all_against_all(distinct, max_distance)
    if not found:
        return none, none
    pairs = np.unique(np.concatenate([left * len(distinct) + right for left, right in found]))
    return pairs // len(distinct), pairs % len(distinct)


def _by_blocks(distinct: Hashes, max_distance: int) -> list[tuple[Ints, Ints]]:
    edges = np.linspace(0, 64, max_distance + 3).astype(int)
    found = []
    for one, other in combinations(pairwise(edges), 2):
        keys = _bits(distinct, *one) << np.uint32(other[1] - other[0]) | _bits(distinct, *other)
        order = _sorting(keys)
        keys = keys[order]
        at, step = np.flatnonzero(keys[1:] == keys[:-1]), 1
        while len(at):  # those that agree with the one ``step`` places on; sorted, so they agreed at every step before
            left, right = order[at], order[at + step]
            near = np.bitwise_count(distinct[left] ^ distinct[right]) <= max_distance
            found.append((np.minimum(left[near], right[near]), np.maximum(left[near], right[near])))
            step += 1
            at = at[at + step < len(keys)]
            at = at[keys[at] == keys[at + step]]
    return found


def _bits(hashes: Hashes, low: int, high: int) -> npt.NDArray[np.uint32]:
    return ((hashes >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1)).astype(np.uint32)


def _sorting(keys: npt.NDArray[np.uint32]) -> Ints:
    """A stable argsort by 16 bits at a time: numpy sorts those by radix."""
    order = np.argsort(keys.astype(np.uint16), kind="stable")
    rest = (keys >> np.uint32(16)).astype(np.uint16)
    return order if not rest.any() else order[np.argsort(rest[order], kind="stable")]


def _all_against_all(distinct: Hashes, max_distance: int) -> list[tuple[Ints, Ints]]:
    found = []
    for start in range(0, len(distinct), ROWS):
        distances = np.bitwise_count(distinct[start:start + ROWS, None] ^ distinct[None, start:])
        left, right = np.nonzero(distances <= max_distance)
        found.append((left[left < right] + start, right[left < right] + start))
    return found

