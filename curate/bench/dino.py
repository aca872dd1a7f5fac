"""DINO and DINOv2 class tokens, cosine, as DreamBooth's and UNO's evaluations do; loaded as the scorers load them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from curate.bench.features import Features, to_references
from curate.bench.items import Floats
from curate.bench.metrics import Sample
from curate.models import resolve_model
from filters.vision_tower import Family, VisionTower

if TYPE_CHECKING:
    from curate.bench.metrics import VisionMetric


def open_tower(config: VisionMetric, device: str, *, family: Family) -> VisionTower:
    """The scorers' network with a metric's preprocessing."""
    return VisionTower(resolve_model(config.model), family=family, device=device, dtype=config.dtype,
                       batch=config.batch, resize_px=config.resize_px, crop_px=config.crop_px,
                       revision=config.revision, pickles=config.pickles)


class DinoMeasure:
    """Callable on samples; ``family`` is the column too."""

    def __init__(self, config: VisionMetric, device: str, *, family: Family) -> None:
        self.column = family
        self.images = Features(open_tower(config, device, family=family).class_tokens, batch=config.batch)

    def __call__(self, samples: Sequence[Sample]) -> Mapping[str, Floats]:
        """The column, (N,), NaN where an item has no content image."""
        return {self.column: to_references(self.images.of_outputs(samples), samples, self.images)}
