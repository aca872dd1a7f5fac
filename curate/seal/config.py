"""How kept triplets are written: image format and size of shards. Part of the run config (``shards:``)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from curate.config import StrictModel


class SealConfig(StrictModel):
    """Settings of the shard writer. All of them change bytes, none of them changes which units are kept."""

    format: Literal["jpg", "png", "webp"] = "jpg"
    """jpg and png are decoded by every loader; webdataset's own ``decode("pil")`` does not know webp."""
    quality: int = Field(default=95, ge=1, le=100)
    """Of jpg (chroma is never subsampled) and of lossy webp."""
    lossless: bool = False
    """Of webp only; png always is."""
    shard_samples: int = Field(default=1000, ge=1)
    shard_mb: float = Field(default=256.0, gt=0.0)
    """A shard is closed before the sample that would pass this many MiB (a larger sample stands alone)."""
    min_shards: int = Field(default=1, ge=1)
    """Of each side that has so many samples: loaders want at least a shard for each worker of each rank."""

    @model_validator(mode="after")
    def _lossless_is_webp(self) -> SealConfig:
        if self.lossless and self.format != "webp":
            raise ValueError(f"lossless is a setting of webp; format is {self.format} (png is lossless by itself)")
        return self
