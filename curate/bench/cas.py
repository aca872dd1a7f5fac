"""CAS, CSGO's content alignment score (arXiv 2408.16766): how far the content has moved once style is taken out.

    CAS = || Ada(phi(content)) - Ada(phi(output)) ||^2,    Ada(F) = (F - mean(F)) / std(F) per channel over the tokens

phi are DINOv2's patch tokens after the last layer norm. The paper does not say how the norm is scaled: we take the mean
over tokens and channels, which does not grow with the model (0 for equal contents, 2 for unrelated ones).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from curate.bench.dino import VisionTower
from curate.bench.features import Features
from curate.bench.items import Floats
from curate.bench.metrics import Sample

if TYPE_CHECKING:
    from curate.bench.metrics import CasMetric

FLOOR: Final = 1e-6  # a channel that is constant over the tokens says nothing: it becomes 0


def standardise(features: Floats) -> Floats:
    """Ada: (T, C) with mean 0 and deviation 1 over the tokens in every channel."""
    centred = features - features.mean(axis=0)
    standard: Floats = (centred / np.maximum(centred.std(axis=0), FLOOR)).astype(np.float32)
    return standard


def content_distance(content: Floats, output: Floats) -> float:
    """CAS of two feature maps (T, C): in [0, 4]."""
    return float(np.square(standardise(content) - standardise(output)).mean())


class CasMeasure:
    """Callable on samples; holds the network."""

    def __init__(self, config: CasMetric, device: str) -> None:
        self.images = Features(VisionTower(config, device, kind="dinov2").patches, batch=config.batch)

    def __call__(self, samples: Sequence[Sample]) -> Mapping[str, Floats]:
        """``cas`` (N,), NaN where an item has no content image."""
        values = [content_distance(self.images.of_reference(sample.item.content), features)
                  if sample.item.content else np.nan
                  for at in range(0, len(samples), self.images.batch)
                  for sample, features in self._batch(samples[at : at + self.images.batch])]
        return {"cas": np.array(values, dtype=np.float32)}

    def _batch(self, samples: Sequence[Sample]) -> list[tuple[Sample, Floats]]:
        return list(zip(samples, self.images.of_outputs(samples), strict=True))
