"""Which samples share a batch when images have several aspect ratios."""

from __future__ import annotations

from collections.abc import Iterator

from pipelines.data.config import DataConfig
from pipelines.data.encoded import EncodedSample
from pipelines.data.transforms import Shapes, shapes_of, shaping
from pipelines.data.triplets import Located, Place, TripletStream


def bucketed(stream: TripletStream, config: DataConfig, *, batch_size: int, start_batch: int,
             ) -> Iterator[list[Located]]:
    """Samples of equal shapes gathered along the lane; whoever fills a group sends it off. Nothing is left out.

    With ``sharding: samples`` a group is the batch of all readers together, of which each takes and decodes its share:
    so all have the same shapes in the same step, and the batches are those of a single reader.

    Exact from any ``start_batch``: the order is known without files, so what came before is replayed with numbers. It
    needs the image sizes: each shard that came before is read through once (headers only, no pixels; a second epoch
    costs nothing more), and the shards of the samples then waiting in groups once again.
    """
    full = batch_size * stream.share
    waiting, lane = _replay(stream, config, full=full, batches=start_batch)
    places = [place for group in waiting.values() for place in group]
    fetched = dict(zip(places, stream.fetch(places), strict=True))
    groups = {shapes: [Located(p.lane, p.dataset, fetched[p]) for p in group] for shapes, group in waiting.items()}
    for position, (dataset, sample) in enumerate(stream.encoded(lane), lane):
        group = groups.setdefault(sample_shapes(sample, config), [])
        group.append(Located(position, dataset, sample))
        if len(group) == full:
            yield group[stream.offset::stream.share]
            group.clear()


def _replay(stream: TripletStream, config: DataConfig, *, full: int, batches: int,
            ) -> tuple[dict[Shapes, list[Place]], int]:
    """The samples that wait in groups when so many batches have gone, and the next position of the lane."""
    groups: dict[Shapes, list[Place]] = {}
    if batches == 0:
        return groups, 0
    known: dict[tuple[int, int], list[tuple[tuple[int, int], ...]]] = {}
    for place in stream.places():
        shard = (place.dataset, place.shard)
        if shard not in known:
            known[shard] = stream.sizes(*shard, shaping(config.roles))
        group = groups.setdefault(shapes_of(known[shard][place.row], config), [])
        group.append(place)
        if len(group) == full:
            group.clear()
            batches -= 1
        if batches == 0:
            return groups, place.lane + 1
    raise AssertionError("a lane has no end")


def sample_shapes(sample: EncodedSample, config: DataConfig) -> Shapes:
    """Shapes of an encoded sample, from the headers of its images. Raises SourceError."""
    return shapes_of([sample.size(role) for role in shaping(config.roles)], config)
