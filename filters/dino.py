"""Subject similarity by DINO class tokens: the first DINO (Caron et al., arXiv 2104.14294), DINOv2 or DINOv3.

The field's subject metric is ViT-S/16 of the first one (DreamBooth, arXiv 2208.12242, section 4.1); DINOv2 (arXiv
2304.07193) and DINOv3 (arXiv 2508.10104) are stronger features whose numbers are on other scales. Preprocessing:
short side ``resize_px`` bicubic, centre crop ``crop_px``, ImageNet mean and deviation, for all three. DINOv3's
processor on the hub squashes to 224 px instead: the same for square images but for the 256 and the filter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from filters.base import TransformersScorer
from filters.matrix import image_list, matrix_columns, matrix_cosines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from curate.interfaces import Score, ScoreColumns, TripletImages
    from filters.vision_tower import Family, VisionTower


class VisionScorer(TransformersScorer):
    """Fields of scorers on ImageNet-style networks: resize the short side, crop the centre."""

    resize_px: int = Field(default=256, ge=8)
    """Of the short side."""
    crop_px: int = Field(default=224, ge=8)
    """Of the square in the middle."""

    def tower(self, family: Family, device: str, *, images: int) -> VisionTower:
        """The loaded network with this config's preprocessing; ``images`` of a unit go through it."""
        from curate.models import resolve_model
        from filters.vision_tower import VisionTower

        return VisionTower(resolve_model(self.model), family=family, device=device, dtype=self.dtype,
                           batch=images * self.batch, resize_px=self.resize_px, crop_px=self.crop_px,
                           revision=self.revision, pickles=self.pickles)


class DinoScorer(VisionScorer):
    """Columns ``<family>.<pair>``, cosines in [-1, 1]: HIGH for content ~ stylized, LOW for style ~ stylized.

    ``model``: a path or hub id that transformers loads: facebook/dino-vits16, facebook/dinov2-small (or with
    registers), facebook/dinov3-vits16-pretrain-lvd1689m. A model of another family is refused.
    """

    kind: Literal["dino"] = "dino"
    family: Literal["dino", "dinov2", "dinov3"] = "dino"
    model: str = "facebook/dino-vits16"

    @property
    def columns(self) -> tuple[str, ...]:
        """The three pairs; the prefix is the family, so that two of them stand side by side."""
        return matrix_columns(self.family)

    def load(self, device: str) -> Score:
        """Load the network once; the result scores units in batches."""
        tower = self.tower(self.family, device, images=3)

        def score(units: Sequence[TripletImages]) -> ScoreColumns:
            return {**matrix_cosines(self.family, tower.class_tokens(image_list(units)))}

        return score
