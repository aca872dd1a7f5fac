"""Style and content similarity by CSD, contrastive style descriptors (Somepalli et al., arXiv 2404.01292).

Style cosine should be LOW between content and stylized, HIGH between style and stylized. Raw cosines are not
calibrated and differ from model to model: take thresholds from data with a known truth, never from another
model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from filters.base import ModelScorer
from filters.matrix import matrix_columns

if TYPE_CHECKING:
    from curate.interfaces import Score


class CsdScorer(ModelScorer):
    """Columns ``csd.style.<pair>`` and ``csd.content.<pair>``, cosines in [-1, 1].

    ``model`` is a folder (``config.json`` and ``model.safetensors``, as the zoo writes) or the official
    checkpoint: ``pytorch_model.bin`` of tomg-group-umd/CSD-ViT-L or its safetensors mirror.
    """

    kind: Literal["csd"] = "csd"
    model: str = "zoo:csd"

    @property
    def columns(self) -> tuple[str, ...]:
        """Style for the three pairs, then content."""
        return (*matrix_columns("csd.style"), *matrix_columns("csd.content"))

    def load(self, device: str) -> Score:
        """Load the network once; the result scores units in batches."""
        from curate.models import resolve_model
        from filters.csd_score import CsdScore

        return CsdScore(resolve_model(self.model), device=device, dtype=self.dtype, batch=self.batch)
