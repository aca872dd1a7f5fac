"""Style and content similarity by CSD, contrastive style descriptors (Somepalli et al., arXiv 2404.01292).

Style cosine should be LOW between content and stylized, HIGH between style and stylized. Raw cosines are not
calibrated and differ from model to model: take thresholds from data with a known truth, never from another
model. Preprocessing, as published: short side to 224 bicubic, centre crop, CLIP's mean and deviation (a folder's
``config.json`` may say another size).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from curate.models import model_hash
from filters.base import ModelScorer
from filters.csls import CslsConfig
from filters.matrix import matrix_columns

if TYPE_CHECKING:
    from curate.interfaces import Score


class CsdScorer(ModelScorer):
    """Columns ``csd.style.<pair>`` and ``csd.content.<pair>``, cosines in [-1, 1]; with ``csls`` also
    ``csd.csls.<pair>``, the style cosines calibrated against a reference bank.

    ``model`` is a folder (``config.json`` and ``model.safetensors``, as the zoo writes) or a file of the published
    ViT-L/14, here or on the hub: tomg-group-umd/CSD-ViT-L/pytorch_model.bin, or the safetensors mirror
    yuxi-liu-wired/CSD/csd_clip_model_pytorch.safetensors. A file that lacks a tensor is refused.
    """

    kind: Literal["csd"] = "csd"
    model: str = "zoo:csd"
    csls: CslsConfig | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """Style for the three pairs, then content, then calibrated style if asked for."""
        calibrated = matrix_columns("csd.csls") if self.csls else ()
        return (*matrix_columns("csd.style"), *matrix_columns("csd.content"), *calibrated)

    def identity(self) -> dict[str, object]:
        """With the contents of the bank in place of its path."""
        found = super().identity()
        del found["csls"]
        if self.csls:
            found["csls"] = {"neighbours": self.csls.neighbours, "bank_hash": model_hash(self.csls.bank)}
        return found

    def load(self, device: str) -> Score:
        """Load the network once; the result scores units in batches."""
        from filters.csd_score import CsdScore
        from filters.weights import weights_path

        return CsdScore(weights_path(self.model, self.revision), device=device, dtype=self.dtype, batch=self.batch,
                        csls=self.csls)
