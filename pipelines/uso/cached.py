"""Batches of features that are read from disk, and made and kept where they are missing.

A sample's entry is found by the bytes of its member of the shard, under the fingerprint of what encodes it: the same
image in another shard, folder or dataset is the same entry, and a changed model or preparation finds none. Entries have
the precision in which the encoders compute, so nothing is lost. On CPUs a training with a cache ends with the same bits
whatever the cache held before; against a training without, whose encoders see whole batches, losses differ by rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import torch
from torch import Tensor

from curate.seeds import digest
from pipelines.data import Batch, DataConfig, FeatureCache, TripletStream
from pipelines.data.batches import collate, dropped, groups
from pipelines.data.encoded import EncodedSample
from pipelines.data.grouping import sample_shapes
from pipelines.data.triplets import Located
from pipelines.uso.features import Encoders, Features, Kind, moved, row, stack
from pipelines.uso.fingerprint import fingerprint

Rows = Callable[[int, Tensor], Sequence[int]]
"""(number of the batch, drop_style) -> rows whose style pixels are wanted."""


@dataclass(frozen=True)
class CachedBatch:
    """B samples: features of those that the store has, and of the others pixels, both in their order."""

    found: Features | None
    missing: Batch | None
    missing_rows: list[int]
    """Which of the B samples are those of `missing`."""
    missing_names: list[dict[Kind, str]]
    """The kinds that each of them lacks, with the keys under which the store is to have them."""
    missing_found: list[Features]
    """The kinds that the store has of each of them."""
    styles: Tensor | None
    """Pixels (R, 3, S, S) of the style images that the reward compares with."""
    drop_style: Tensor
    drop_content: Tensor
    drop_text: Tensor
    keys: list[str]
    positions: list[int]


class Store:
    """The entries of one setting, one `FeatureCache` for each kind of feature. ValueError for random crops."""

    def __init__(self, folder: Path, encoders: Encoders, data: DataConfig) -> None:
        if data.crop != "centre":
            raise ValueError("features can be kept only of fixed crops: crop must be centre")
        self.data = data
        self.caches = {
            kind: FeatureCache(
                folder / kind, fingerprint=fingerprint(encoders.pipeline, kind, data, projects=encoders.projects)
            )
            for kind in encoders.kinds
        }

    def names(self, sample: EncodedSample) -> dict[Kind, str]:
        """Key of each kind: the member's bytes, and the shape that its neighbours may have given it."""
        shapes = sample_shapes(sample, self.data) if self.data.buckets else ""
        members = {**self.data.roles.model_dump(), "text": "txt"}
        return {kind: _name(sample.members[members[kind]], kind, shapes) for kind in self.caches}

    def get(self, names: Mapping[Kind, str]) -> Features:
        """A row of features, of the kinds that are there. Raises StoreError for a damaged entry."""
        found: Features = {}
        for kind, cache in self.caches.items():
            tensors = cache.get(names[kind])
            if tensors is not None:
                found[kind] = tuple(tensors[str(place)] for place in range(len(tensors)))
        return found

    def put(self, names: Mapping[Kind, str], features: Features) -> None:
        """Keep a row of features. Raises StoreError when it cannot be written."""
        for kind, values in features.items():
            self.caches[kind].put(names[kind], {str(place): value for place, value in enumerate(values)})


def cached_batches(
    stream: TripletStream, store: Store, *, batch_size: int, start_batch: int, every: int, seed: int, rows: Rows
) -> Iterator[CachedBatch]:
    """As `pipelines.data.batches`, but only what is not in the store is decoded, and styles where `rows` says so."""
    data = store.data
    read = groups(stream, data, batch_size=batch_size, start_batch=start_batch, every=every)
    for number, group in zip(count(start_batch, every), read, strict=False):
        names = [store.names(located.sample) for located in group]
        features = [store.get(each) for each in names]
        positions = [stream.position(located.lane) for located in group]
        drop = dropped(positions, data, seed=seed)
        missing = [place for place, each in enumerate(features) if len(each) < len(store.caches)]
        found = [each for each in features if len(each) == len(store.caches)]
        styled = _pixels(stream, data, [group[place] for place in rows(number, drop["drop_style"])], seed)
        yield CachedBatch(
            found=stack(found) if found else None,
            missing=_pixels(stream, data, [group[place] for place in missing], seed),
            missing_rows=missing,
            missing_names=[_without(names[place], features[place]) for place in missing],
            missing_found=[features[place] for place in missing],
            styles=None if styled is None else styled.style,
            keys=[located.sample.key for located in group],
            positions=positions,
            **drop,
        )


def completed(batch: CachedBatch, store: Store, encoders: Encoders, device: torch.device) -> Features:
    """All features of a batch on the device; those that were missing are made and kept."""
    if batch.missing is None:
        assert batch.found is not None
        return moved(batch.found, device)
    fresh = _encoded(batch.missing, batch.missing_names, encoders, device)
    for names, features in zip(batch.missing_names, fresh, strict=True):
        store.put(names, features)
    places = range(len(batch.positions))
    rows = zip(batch.missing_rows, batch.missing_found, fresh, strict=True)
    made = {place: {**known, **new} for place, known, new in rows}
    if batch.found is not None:
        known = (place for place in places if place not in made)
        made |= {place: row(batch.found, at) for at, place in enumerate(known)}
    return moved(stack([made[place] for place in places]), device)


def _encoded(
    batch: Batch, names: Sequence[Mapping[Kind, str]], encoders: Encoders, device: torch.device
) -> list[Features]:
    """Rows on the CPU, of the kinds that each lacks. Computed there, a sample is encoded alone: batch mates reach the
    last bits of a float, and who is missing beside it depends on what was cached when. On GPUs, where no bits are
    promised, all go together."""
    count = 1 if device.type == "cpu" else len(batch.keys)
    found: list[Features] = []
    for start in range(0, len(batch.keys), count):
        lacking = names[start : start + count]
        part = batch.rows(start, start + count).to(device)
        made = moved(encoders(part, {kind for each in lacking for kind in each}), torch.device("cpu"))
        found += [{kind: row(made, place)[kind] for kind in each} for place, each in enumerate(lacking)]
    return found


def _without(names: Mapping[Kind, str], found: Features) -> dict[Kind, str]:
    return {kind: name for kind, name in names.items() if kind not in found}


def _pixels(stream: TripletStream, data: DataConfig, group: Sequence[Located], seed: int) -> Batch | None:
    if not group:
        return None
    return collate([stream.decode(*located) for located in group], data, seed=seed)


def _name(member: bytes, kind: Kind, shapes: object) -> str:
    return digest(member, str(shapes) if kind in ("target", "content") else "")
