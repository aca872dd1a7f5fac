"""Candidate PNG -> the bytes in a shard. Encoder settings are fixed, so equal pixels give equal bytes."""

from __future__ import annotations

import io

from PIL import Image, UnidentifiedImageError

from curate.errors import StoreError
from curate.seal.config import SealConfig


def encode_image(png: bytes, config: SealConfig) -> bytes:
    """The image in the configured format. png passes unchanged: candidates are PNG already.

    Raises StoreError when the candidate does not decode (its sha256 was checked, so it was committed so).
    """
    if config.format == "png":
        return png
    out = io.BytesIO()
    try:
        with Image.open(io.BytesIO(png)) as image:
            rgb = image.convert("RGB")
    except (UnidentifiedImageError, OSError, ValueError) as error:
        raise StoreError(f"a candidate image does not decode: {error}") from error
    if config.format == "jpg":
        # 4:4:4: style lives in colour edges, which halved chroma smears; optimize=True would only change the size
        rgb.save(out, "JPEG", quality=config.quality, subsampling=0, optimize=False, progressive=False)
    else:
        rgb.save(out, "WEBP", lossless=config.lossless, quality=config.quality, method=4, exact=True)
    return out.getvalue()
