"""Content and text similarity by CLIP (Radford et al., arXiv 2103.00020), any model that open_clip loads.

CLIP-I (image cosine) should be HIGH between content and stylized and LOW between style and stylized (else the
style reference leaks its subject); CLIP-T is the cosine with the unit's caption.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from filters.base import ModelScorer
from filters.matrix import matrix_columns

if TYPE_CHECKING:
    from curate.interfaces import Score


class ClipScorer(ModelScorer):
    """Columns ``clip.image.<pair>``, ``clip.text.stylized`` and ``clip.text.content``, cosines in [-1, 1].

    ``model``: ``NAME/PRETRAINED`` of open_clip ("ViT-L-14/openai", "ViT-SO400M-16-SigLIP2-384/webli"),
    ``hf-hub:ORG/REPO``, or a folder with ``open_clip_config.json``. ``prompt`` frames the caption; "{}" stands
    for it. Preprocessing and tokenizer are the model's own, as open_clip knows them: OpenAI's short side bicubic
    and centre crop, SigLIP's squash; QuickGELU where the weights were trained with it.
    """

    kind: Literal["clip"] = "clip"
    model: str = "zoo:clip"
    prompt: str = "{}"

    @property
    def hub_id(self) -> None:
        """open_clip has tags of its own and takes no revision."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Image for the three pairs, then the caption against stylized and content."""
        return (*matrix_columns("clip.image"), "clip.text.stylized", "clip.text.content")

    def load(self, device: str) -> Score:
        """Load model and tokenizer once; the result scores units in batches."""
        from curate.models import resolve_model
        from filters.clip_score import ClipScore

        return ClipScore(
            resolve_model(self.model),
            device=device,
            dtype=self.dtype,
            batch=self.batch,
            prompt=self.prompt,
            revision=self.revision,
        )
