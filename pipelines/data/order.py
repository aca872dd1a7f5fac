"""Order as a function of seed and position, computed from the sizes of shards alone: no file is opened for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from curate.seeds import seed as hash_seed

Ints = npt.NDArray[np.int64]
BLOCK = 4096
"""Positions whose datasets are drawn together: makes counting a million of them a matter of milliseconds."""


class PassOrder:
    """One pass over some shards: shards in a seeded order make a stream, a seeded rolling buffer mixes it.

    ``sizes``: samples of each shard; ``buffer``: samples. Takes half a second for a million samples.
    """

    def __init__(self, sizes: Sequence[int], *, buffer: int, seed: int) -> None:
        draws = np.random.default_rng(seed)
        self.shards: Ints = draws.random(len(sizes)).argsort(kind="stable")
        """Shards in the order in which they are read."""
        self.starts: Ints = np.concatenate([[0], np.cumsum(np.asarray(sizes)[self.shards])])
        """Stream index at which each of them begins, and the end."""
        self.order = _rolling_shuffle(int(self.starts[-1]), buffer, draws)
        """Stream index of the sample at each position of the pass; never more than ``buffer`` - 1 ahead of it."""

    def place(self, position: int) -> tuple[int, int]:
        """(shard, index in it) of the sample at a position of the pass."""
        at = int(self.order[position])
        slot = int(np.searchsorted(self.starts, at, side="right")) - 1
        return int(self.shards[slot]), at - int(self.starts[slot])


def _rolling_shuffle(count: int, buffer: int, draws: np.random.Generator) -> Ints:
    """What a buffer makes of 0 ... count - 1: each time a random one of it goes out and the next comes in."""
    held = list(range(min(buffer, count)))
    out = np.empty(count, dtype=np.int64)
    coming = len(held)
    for position, draw in enumerate(draws.random(count).tolist()):
        chosen = int(draw * len(held))
        out[position] = held[chosen]
        if coming < count:
            held[chosen] = coming
            coming += 1
        else:
            held[chosen] = held[-1]
            held.pop()
    return out


class Mixture:
    """Which dataset each position draws from: by weight, seeded, independent of what came before."""

    def __init__(self, weights: Sequence[float], *, seed: int) -> None:
        self._bounds = np.cumsum(weights)[:-1] / sum(weights)
        self._seed = seed

    def counts(self, position: int) -> list[int]:
        """How many of the positions before this one each dataset has."""
        total = np.zeros(len(self._bounds) + 1, dtype=np.int64)
        for block in range(-(-position // BLOCK)):
            chosen = self._block(block)[:position - block * BLOCK]
            total += np.bincount(chosen, minlength=len(total))
        return [int(n) for n in total]

    def choices(self, position: int) -> Iterator[int]:
        """The dataset of this position, the next, and so on without end."""
        block, skipped = divmod(position, BLOCK)
        while True:
            yield from self._block(block)[skipped:].tolist()
            block, skipped = block + 1, 0

    def _block(self, block: int) -> Ints:
        draws = np.random.default_rng(hash_seed("mixture", self._seed, block)).random(BLOCK)
        return np.searchsorted(self._bounds, draws, side="right").astype(np.int64)
