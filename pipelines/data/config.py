"""What the trainer reads and how: datasets and their weights, sizes, order and condition dropout."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from curate.config import StrictModel
from curate.interfaces import Role

GRID_PX = 16
"""Image sides are multiples of this: FLUX's VAE makes 8 px one latent, and 2 x 2 latents one token."""


class DatasetConfig(StrictModel):
    """A sealed dataset: the folder that holds dataset.json (a path, or s3://, http://, any fsspec URL)."""

    path: str = Field(min_length=1)
    weight: float = Field(default=1.0, gt=0.0, allow_inf_nan=False)
    """Share of the samples that come from here, relative to the other weights (not to the sizes)."""


class DropoutConfig(StrictModel):
    """How often a condition is withheld in training, each drawn by itself; 0.25 is of USO's CVPR version, 0.1 ours."""

    style: float = Field(default=0.25, ge=0.0, le=1.0)
    content: float = Field(default=0.25, ge=0.0, le=1.0)
    text: float = Field(default=0.1, ge=0.0, le=1.0)


class RolesConfig(StrictModel):
    """Which member of a triplet a training takes for what; None: that condition does not exist in it. As they stand
    they are USO's, and those of a stylize expert; a destylize expert has ``target: content, content: stylized,
    style: null``."""

    target: Role = "stylized"
    content: Role | None = "content"
    style: Role | None = "style"


class DataConfig(StrictModel):
    """All that decides which batches a training sees, together with its seed."""

    datasets: tuple[DatasetConfig, ...] = Field(min_length=1)
    split: Literal["train", "val"] = "train"
    size_px: int = Field(ge=GRID_PX, multiple_of=GRID_PX)
    """Side of the target; with ``buckets`` the root of its area."""
    content_size_px: int | None = Field(default=None, ge=GRID_PX)
    """Long side of the content reference; None = as large as the target and cut in the same way."""
    style_px: int = Field(default=384, ge=1)
    """Side of the style reference; 384 is what USO's SigLIP takes."""
    buckets: bool = False
    """False: every target is cut to a square. True: to the aspect ratio, of a few, that is nearest to its own."""
    shuffle_buffer: int = Field(default=1000, ge=1)
    """Encoded samples held for shuffling, per dataset and reader; 1 = only the order of shards is shuffled."""
    sharding: Literal["samples", "shards"] = "samples"
    """``samples``: one global order, whatever the number of readers; each reads all shards and decodes only its own
    samples. ``shards``: each reader reads only its own shards, for shards that are many and far away."""
    crop: Literal["centre", "random"] = "centre"
    dropout: DropoutConfig = DropoutConfig()
    roles: RolesConfig = RolesConfig()
