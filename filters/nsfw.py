"""Whether an image is not safe for work, by an image classifier of transformers.

Default: Falconsai/nsfw_image_detection (ViT-B/16, Apache-2.0), labels "normal" and "nsfw". Preprocessing is the
model's own image processor. Classifiers of this kind were trained on photographs: on drawings, look before you trust.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from filters.base import TransformersScorer
from filters.matrix import role_columns

if TYPE_CHECKING:
    from curate.interfaces import Score


class NsfwScorer(TransformersScorer):
    """Columns ``nsfw.<role>``: probability in [0, 1] of the labels ``unsafe`` together.

    ``model``: a path or hub id that AutoModelForImageClassification loads.
    """

    kind: Literal["nsfw"] = "nsfw"
    model: str = "Falconsai/nsfw_image_detection"
    unsafe: tuple[str, ...] = Field(default=("nsfw",), min_length=1)

    @property
    def columns(self) -> tuple[str, ...]:
        """Of the three images."""
        return role_columns("nsfw")

    def load(self, device: str) -> Score:
        """Load the classifier once; the result scores units in batches."""
        from curate.models import resolve_model
        from filters.nsfw_score import NsfwScore

        return NsfwScore(resolve_model(self.model), device=device, dtype=self.dtype, batch=self.batch,
                         unsafe=self.unsafe, revision=self.revision, pickles=self.pickles)
