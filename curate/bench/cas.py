"""CAS over a bench's items: the CAS scorer's own network and arithmetic (``filters.cas``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from curate.bench.dino import open_tower
from curate.bench.features import Features
from curate.bench.items import Floats
from curate.bench.metrics import Sample
from filters.cas import content_distance

if TYPE_CHECKING:
    from curate.bench.metrics import CasMetric


class CasMeasure:
    """Callable on samples; holds the network."""

    def __init__(self, config: CasMetric, device: str) -> None:
        self.images = Features(open_tower(config, device, family="dinov2").patches, batch=config.batch)

    def __call__(self, samples: Sequence[Sample]) -> Mapping[str, Floats]:
        """``cas`` (N,), NaN where an item has no content image."""
        values = [content_distance(self.images.of_reference(sample.item.content), features)
                  if sample.item.content else np.nan
                  for at in range(0, len(samples), self.images.batch)
                  for sample, features in self._batch(samples[at : at + self.images.batch])]
        return {"cas": np.array(values, dtype=np.float32)}

    def _batch(self, samples: Sequence[Sample]) -> list[tuple[Sample, Floats]]:
        return list(zip(samples, self.images.of_outputs(samples), strict=True))
