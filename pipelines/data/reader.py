"""One reader's part of one dataset as an endless stream of encoded samples that can begin anywhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from curate.seeds import seed as hash_seed
from pipelines.data.encoded import EncodedSample
from pipelines.data.manifest import ShardFile
from pipelines.data.order import PassOrder
from pipelines.data.tar_samples import read_samples


class DatasetReader:
    """Passes over its shards without end; pass n holds every sample once, in an order of its own.

    ``suffixes``: see ``Manifest``; ``buffer``: samples held, encoded, for shuffling.
    """

    def __init__(self, shards: Sequence[ShardFile], suffixes: Mapping[str, str], *, buffer: int, seed: int) -> None:
        self.num_samples = sum(shard.samples for shard in shards)
        self._shards = shards
        self._suffixes = suffixes
        self._buffer = buffer
        self._seed = seed
        self._last: tuple[int, PassOrder] | None = None

    def samples(self, start: int) -> Iterator[EncodedSample]:
        """From position ``start`` on. Shards that have nothing left to give in the pass are not opened."""
        number, first = divmod(start, self.num_samples)
        while True:
            yield from self._pass(self._order(number), first)
            number, first = number + 1, 0

    def place(self, position: int) -> tuple[int, int]:
        """(shard, index in it) of the sample at a position; opens nothing."""
        number, at = divmod(position, self.num_samples)
        return self._order(number).place(at)

    def take(self, shard: int, indices: Sequence[int]) -> dict[int, EncodedSample]:
        """Some samples of one shard, by index."""
        wanted = np.zeros(self._shards[shard].samples, dtype=np.bool_)
        wanted[list(indices)] = True
        return dict(read_samples(self._shards[shard], self._suffixes, wanted))

    def sizes(self, shard: int, roles: Sequence[str]) -> list[tuple[tuple[int, int], ...]]:
        """(width, height) of the images of these roles for every sample of a shard, from their headers."""
        wanted = np.ones(self._shards[shard].samples, dtype=np.bool_)
        suffixes = {role: self._suffixes[role] for role in roles}
        return [tuple(sample.size(role) for role in roles)
                for _, sample in read_samples(self._shards[shard], suffixes, wanted)]

    def _pass(self, order: PassOrder, first: int) -> Iterator[EncodedSample]:
        held: dict[int, EncodedSample] = {}
        left = order.order[first:]
        given = 0
        for index, sample in self._arrivals(order, first):
            held[index] = sample
            while given < len(left) and (ready := held.pop(int(left[given]), None)) is not None:
                given += 1
                yield ready

    def _arrivals(self, order: PassOrder, first: int) -> Iterator[tuple[int, EncodedSample]]:
        """(stream index, sample) of what the positions from ``first`` on need, as the shards give it."""
        needed = np.zeros(self.num_samples, dtype=np.bool_)
        needed[order.order[first:]] = True
        for slot, shard in enumerate(order.shards.tolist()):
            start, stop = int(order.starts[slot]), int(order.starts[slot + 1])
            wanted = needed[start:stop]
            if wanted.any():
                for index, sample in read_samples(self._shards[shard], self._suffixes, wanted):
                    yield start + index, sample

    def _order(self, number: int) -> PassOrder:
        if self._last is None or self._last[0] != number:
            sizes = [shard.samples for shard in self._shards]
            order = PassOrder(sizes, buffer=self._buffer, seed=hash_seed("pass", self._seed, number))
            self._last = (number, order)
        return self._last[1]
