"""CAS, CSGO's content alignment score (arXiv 2408.16766): how far the content has moved once style is taken out.

    CAS = || Ada(phi(content)) - Ada(phi(output)) ||^2,    Ada(F) = (F - mean(F)) / std(F) per channel over the tokens

phi are DINOv2's patch tokens after the last layer norm. The paper does not say how the norm is scaled: we take the mean
over tokens and channels, which does not grow with the model (0 for equal contents, 2 for unrelated ones). Preprocessing
as in ``filters.dino``. Tokens are compared place by place: it means little where the layout is shifted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from filters.dino import VisionScorer
from filters.matrix import Floats

if TYPE_CHECKING:
    from collections.abc import Sequence

    from curate.interfaces import Score, ScoreColumns, TripletImages

FLOOR: Final = 1e-6  # a channel that is constant over the tokens says nothing: it becomes 0


class CasScorer(VisionScorer):
    """Column ``cas.content_stylized`` in [0, 4]; low is the content kept."""

    kind: Literal["cas"] = "cas"
    model: str = "facebook/dinov2-base"

    @property
    def columns(self) -> tuple[str, ...]:
        """The one distance."""
        return ("cas.content_stylized",)

    def load(self, device: str) -> Score:
        """Load the network once; the result scores units in batches."""
        tower = self.tower("dinov2", device, images=2)

        def score(units: Sequence[TripletImages]) -> ScoreColumns:
            features = tower.patches([image for unit in units for image in (unit.content, unit.stylized)])
            distances = [content_distance(c, t) for c, t in zip(features[::2], features[1::2], strict=True)]
            return {"cas.content_stylized": np.array(distances, dtype=np.float32)}

        return score


def standardise(features: Floats) -> Floats:
    """Ada: (T, C) with mean 0 and deviation 1 over the tokens in every channel."""
    centred = features - features.mean(axis=0)
    standard: Floats = (centred / np.maximum(centred.std(axis=0), FLOOR)).astype(np.float32)
    return standard


def content_distance(content: Floats, output: Floats) -> float:
    """CAS of two feature maps (T, C): in [0, 4]."""
    return float(np.square(standardise(content) - standardise(output)).mean())
