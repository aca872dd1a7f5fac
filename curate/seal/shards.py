"""The shard writer: kept samples -> tars whose bytes depend on the samples and settings alone.

Samples are ordered by a hash of their ids, so styles, recipes and experts mix in every shard (loaders shuffle shard
order and a small buffer, no more), and shards of a side differ by one sample at most unless the size limit cuts one.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from curate.files import is_remote
from curate.seal.config import SealConfig
from curate.seal.samples import Members
from curate.seeds import digest
from curate.store.tars import TarWriter

MIB = 2**20
HEADER = 512
WINDOW = 64
"""Samples that are encoded ahead: bounds memory at 64 triplets."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One written tar."""

    name: str
    split: str
    samples: int
    bytes: int
    sha256: str

    def as_dict(self) -> dict[str, str | int]:
        """For dataset.json."""
        return asdict(self)


def shard_order(unit_ids: Iterable[str]) -> list[str]:
    """Unit ids in the order of a hash."""
    return sorted(unit_ids, key=lambda unit_id: digest("shard order", unit_id))


def planned_sizes(num_samples: int, config: SealConfig) -> list[int]:
    """Samples of each shard before the size limit: as few shards as allowed, as even as possible."""
    if num_samples == 0:
        return []
    shards = max(-(-num_samples // config.shard_samples), min(config.min_shards, num_samples))
    return [num_samples * (i + 1) // shards - num_samples * i // shards for i in range(shards)]


def write_shards(folder: Path, split: str, unit_ids: Sequence[str], build: Callable[[str], Members], config: SealConfig,
                 ) -> tuple[list[Shard], dict[str, str]]:
    """Write ``<split>-NNNNNN.tar`` into an existing folder; the shards, and unit_id -> shard name. Raises OSError."""
    ordered = shard_order(unit_ids)
    shards: list[Shard] = []
    where: dict[str, str] = {}
    samples = _built(ordered, build)
    for size in planned_sizes(len(ordered), config):
        open_shard: _OpenShard | None = None
        try:
            for _ in range(size):
                unit_id, members = next(samples)
                if open_shard and open_shard.would_pass(members, config.shard_mb * MIB):
                    shards.append(open_shard.close())
                    open_shard = None
                open_shard = open_shard or _OpenShard(folder, split, len(shards))
                open_shard.add(members)
                where[unit_id] = open_shard.name
            if open_shard:
                shards.append(open_shard.close())
        finally:
            if open_shard:
                open_shard.release()
    return shards, where


def _built(unit_ids: Sequence[str], build: Callable[[str], Members]) -> Iterator[tuple[str, Members]]:
    """Samples in order, encoded a window ahead by threads (Pillow's encoders release the interpreter lock)."""
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        for start in range(0, len(unit_ids), WINDOW):
            window = unit_ids[start:start + WINDOW]
            yield from zip(window, pool.map(build, window), strict=True)


class _HashedFile:
    """A binary file that hashes what is written to it: a shard is never read back."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._sha256 = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self._sha256.update(data)
        return self._file.write(data)

    def tell(self) -> int:
        return self._file.tell()

    def hexdigest(self) -> str:
        return self._sha256.hexdigest()


class _OpenShard:
    def __init__(self, folder: Path, split: str, number: int) -> None:
        self.name = f"{split}-{number:06d}.tar"
        self._split = split
        self._samples = 0
        self._path = folder / self.name
        self._file = self._path.open("wb")
        self._hashed = _HashedFile(self._file)
        self._tar = TarWriter(self._hashed)

    def would_pass(self, members: Members, limit: float) -> bool:
        size = sum(HEADER + -(-len(data) // HEADER) * HEADER for _, data in members)
        return self._tar.offset + size > limit

    def add(self, members: Members) -> None:
        for name, data in members:
            self._tar.add(name, data)
        self._samples += 1

    def close(self) -> Shard:
        self._tar.close()
        size = self._file.tell()
        if not is_remote(self._path):
            self._file.flush()
            os.fsync(self._file.fileno())
        self._file.close()
        return Shard(self.name, self._split, self._samples, size, self._hashed.hexdigest())

    def release(self) -> None:
        """Let go of the file, closed properly or not."""
        self._file.close()
