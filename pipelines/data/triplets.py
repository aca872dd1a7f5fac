"""Sealed triplets as an endless stream that every reader can enter at any position."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple, cast, get_args

from PIL.Image import Image

from curate.errors import ConfigError, ImageError
from curate.images import decode
from curate.interfaces import Layout, Role
from curate.seeds import seed as hash_seed
from pipelines.data.config import DataConfig, DatasetConfig
from pipelines.data.encoded import EncodedSample
from pipelines.data.manifest import Manifest, read_manifest
from pipelines.data.order import Mixture
from pipelines.data.reader import DatasetReader


@dataclass(frozen=True, slots=True)
class Triplet:
    """A decoded sample: PIL RGB images. ``dataset`` is the config's path, ``position`` the global one (see stream)."""

    key: str
    content: Image
    style: Image
    stylized: Image
    caption: str
    layout: Layout
    dataset: str
    position: int

    def member(self, role: Role) -> Image:
        """One of the three images."""
        image: Image = getattr(self, role)
        return image


class Place(NamedTuple):
    """Where the sample at a position of the lane lies: numbers of dataset and shard, row in the shard."""

    lane: int
    dataset: int
    shard: int
    row: int


class Located(NamedTuple):
    """A sample of a reader, not decoded: its position of the lane, the number of its dataset, its bytes."""

    lane: int
    dataset: int
    sample: EncodedSample


class TripletStream:
    """The samples of one reader, in an order that (config, seed, rank, world) fix and nothing else.

    ``rank`` and ``world`` number the readers: where ranks have loader workers, pass rank * workers + worker of
    ranks * workers. What a reader walks along is its *lane*:

    * ``sharding: samples``: there is one lane for all; reader r of w owns its positions p with p % w == r. So the
      global order, and with it every global batch, is the same for any number of readers. Each of them reads all shards
      and holds the whole shuffle buffer, but decodes its own samples only.
    * ``sharding: shards``: each reader has a lane of its own over its own shards (number r, r + w, r + 2w, ... of each
      dataset), and owns all of it. Position p of that lane counts as the global position p * w + r.

    A lane never ends, so all readers go on in step for as long as they like: an epoch is the same number of samples for
    everyone, ``epoch_length``. Nothing is dropped to make shards even: a reader passes over its shards again and again,
    each pass holds every sample once, and one with fewer samples begins its next pass earlier. With several datasets
    each has passes of its own, and a seeded draw by weight at each position says which one gives the sample.

    ConfigError: a split without samples, more readers than shards; SourceError: a dataset that cannot be read.
    """

    def __init__(self, config: DataConfig, *, seed: int, rank: int = 0, world: int = 1) -> None:
        if not 0 <= rank < world:
            raise ValueError(f"rank {rank} of {world}")
        self.config = config
        self.rank, self.world = rank, world
        by_shards = config.sharding == "shards"
        self.share, self.offset = (1, 0) if by_shards else (world, rank)
        """This reader owns the positions p of its lane with p % share == offset."""
        manifests = [read_manifest(dataset.path, config.split) for dataset in config.datasets]
        if by_shards:
            for dataset, manifest in zip(config.datasets, manifests, strict=True):
                _check_readers(dataset, manifest, config, world)
        lane = hash_seed("lane", seed, rank if by_shards else 0, world if by_shards else 1)
        own = slice(rank, None, world) if by_shards else slice(None)
        self._readers = [DatasetReader(manifest.shards[own], manifest.suffixes, buffer=config.shuffle_buffer,
                                       seed=hash_seed("dataset", lane, number))
                         for number, manifest in enumerate(manifests)]
        self._mixture = Mixture([dataset.weight for dataset in config.datasets], seed=lane)
        self.epoch_length = _epoch_length(manifests, world, by_shards=by_shards)
        """Samples of one epoch for each reader; the same number for all of them."""

    def iterate(self, start: int = 0) -> Iterator[Triplet]:
        """This reader's samples from its own sample number ``start`` on, without end; only these are decoded.

        SourceError names the shard, sample and member that cannot be used.
        """
        for located in self.located(start):
            yield self.decode(*located)

    def located(self, start: int = 0) -> Iterator[Located]:
        """As ``iterate``, with nothing decoded."""
        lane = start * self.share
        for position, (dataset, sample) in enumerate(self.encoded(lane), lane):
            if position % self.share == self.offset:
                yield Located(position, dataset, sample)

    def encoded(self, lane: int) -> Iterator[tuple[int, EncodedSample]]:
        """(number of the dataset, sample) for each position of the lane from ``lane`` on, without end."""
        starts = self._mixture.counts(lane)
        sources = [reader.samples(at) for reader, at in zip(self._readers, starts, strict=True)]
        for dataset in self._mixture.choices(lane):
            yield dataset, next(sources[dataset])

    def decode(self, lane: int, dataset: int, sample: EncodedSample) -> Triplet:
        """The triplet of a sample at a position of the lane. Raises SourceError."""
        content, style, stylized = (_image(sample, role) for role in ("content", "style", "stylized"))
        return Triplet(sample.key, content, style, stylized, sample.text(), _layout(sample),
                       self.config.datasets[dataset].path, self.position(lane))

    def position(self, lane: int) -> int:
        """The global position of a position of the lane."""
        return lane if self.share == self.world else lane * self.world + self.rank

    def places(self) -> Iterator[Place]:
        """Where the lane's samples lie, from its beginning on, without opening a shard."""
        at = [0] * len(self._readers)
        for lane, dataset in zip(count(), self._mixture.choices(0), strict=False):
            yield Place(lane, dataset, *self._readers[dataset].place(at[dataset]))
            at[dataset] += 1

    def fetch(self, places: Sequence[Place]) -> list[EncodedSample]:
        """The samples at these places; each shard that holds one is read once."""
        wanted: dict[tuple[int, int], list[int]] = {}
        for place in places:
            wanted.setdefault((place.dataset, place.shard), []).append(place.row)
        found = {at: self._readers[at[0]].take(at[1], rows) for at, rows in wanted.items()}
        return [found[place.dataset, place.shard][place.row] for place in places]

    def sizes(self, dataset: int, shard: int, roles: Sequence[str]) -> list[tuple[tuple[int, int], ...]]:
        """(width, height) of the images of these roles for every sample of a shard, from their headers."""
        return self._readers[dataset].sizes(shard, roles)


def _check_readers(dataset: DatasetConfig, manifest: Manifest, config: DataConfig, world: int) -> None:
    shards = len(manifest.shards)
    if world > shards:
        raise ConfigError(
            f"{dataset.path}: split {config.split!r} has {shards} shards for {world} readers (ranks x loader workers): "
            f"use at most {shards} readers, seal again with min_shards: {world} or more, or set sharding: samples",
            key="sharding")


def _epoch_length(manifests: Sequence[Manifest], world: int, *, by_shards: bool) -> int:
    if by_shards:
        return max(sum(shard.samples for manifest in manifests for shard in manifest.shards[rank::world])
                   for rank in range(world))
    total = sum(shard.samples for manifest in manifests for shard in manifest.shards)
    return -(-total // world)


def _image(sample: EncodedSample, role: str) -> Image:
    try:
        return decode(sample.members[role])
    except ImageError as error:
        raise sample.fault(role, error) from error


def _layout(sample: EncodedSample) -> Layout:
    try:
        layout = json.loads(sample.members["json"])["layout"]
    except (ValueError, KeyError, TypeError) as error:
        raise sample.fault("json", f"no layout in it ({type(error).__name__}: {error})") from error
    if layout not in get_args(Layout):
        raise sample.fault("json", f"unknown layout {layout!r}")
    return cast(Layout, layout)
