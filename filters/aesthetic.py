"""How pleasing an image is: LAION's aesthetic predictor v2, a small head on OpenAI's CLIP ViT-L/14.

Source: christophschuhmann/improved-aesthetic-predictor (Apache-2.0), sac+logos+ava1-l14-linearMSE.pth, trained on
ratings from 1 to 10. Preprocessing: CLIP's own (short side 224 bicubic, centre crop, CLIP's mean and deviation); the
image vector is scaled to unit length. It prefers photographs and paintings to flat drawings: compare within a style.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from curate.models import model_hash
from filters.base import ModelScorer
from filters.matrix import role_columns

if TYPE_CHECKING:
    from curate.interfaces import Score


class AestheticScorer(ModelScorer):
    """Columns ``aesthetic.<role>``, about 1 to 10, higher is better.

    ``model`` as for the clip scorer; ``head`` is the predictor's file, here or ``ORG/REPO/FILE`` on the hub (pickle or
    safetensors, tensors only).
    """

    kind: Literal["aesthetic"] = "aesthetic"
    model: str = "ViT-L-14/openai"
    head: str = "ttj/sac-logos-ava1-l14-linearMSE/model.safetensors"
    head_revision: str | None = None

    @property
    def hub_id(self) -> None:
        """open_clip has tags of its own and takes no revision."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Of the three images."""
        return role_columns("aesthetic")

    def identity(self) -> dict[str, object]:
        """With the contents of the head in place of its path."""
        found = super().identity()
        del found["head"]
        return {**found, "head_hash": model_hash(self.head, self.head_revision)}

    def load(self, device: str) -> Score:
        """Load CLIP and the head once; the result scores units in batches."""
        from curate.models import resolve_model
        from filters.aesthetic_score import AestheticScore
        from filters.weights import weights_path

        return AestheticScore(resolve_model(self.model), weights_path(self.head, self.head_revision), device=device,
                              dtype=self.dtype, batch=self.batch, revision=self.revision)
