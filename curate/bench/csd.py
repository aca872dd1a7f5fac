"""CSD, loaded and prepared as the CSD scorer does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from PIL.Image import Image

from curate.bench.features import Features, to_style
from curate.bench.items import Floats
from curate.bench.metrics import Sample
from filters.csd_score import CsdScore
from filters.weights import weights_path

if TYPE_CHECKING:
    from curate.bench.metrics import CsdMetric


class CsdMeasure:
    """Callable on samples; holds the network."""

    def __init__(self, config: CsdMetric, device: str) -> None:
        self.scorer = CsdScore(weights_path(config.model, config.revision), device=device, dtype=config.dtype,
                               batch=config.batch)
        self.styles = Features(self._embed, batch=config.batch)

    def __call__(self, samples: Sequence[Sample]) -> Mapping[str, Floats]:
        """``csd`` (N,)."""
        return {"csd": to_style(self.styles.of_outputs(samples), samples, self.styles)}

    def _embed(self, images: Sequence[Image]) -> Floats:
        return self.scorer.embed(images)[0]
