"""Vectors of pictures: outputs are embedded once in batches, references remembered, for they come back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from PIL.Image import Image

from curate.bench.items import Floats, Picture
from curate.bench.metrics import Sample

Embed = Callable[[Sequence[Image]], Floats]
"""N images to (N, ...) float32."""

REMEMBERED = 512
"""References: 512 grids of 256 DINOv2 tokens of width 768 are 400 MB."""


class Features:
    """``embed`` over pictures. ``of_reference(picture)``: (...) of one reference."""

    def __init__(self, embed: Embed, *, batch: int, remembered: int = REMEMBERED) -> None:
        self.batch = batch
        self._embed = embed
        self.of_reference = lru_cache(maxsize=remembered)(self._one)

    def of_outputs(self, samples: Sequence[Sample]) -> Floats:
        """(N, ...) of the made images."""
        pictures = [sample.output for sample in samples]
        parts = [self._embed([picture.open() for picture in pictures[at : at + self.batch]])
                 for at in range(0, len(pictures), self.batch)]
        return np.concatenate(parts)

    def _one(self, picture: Picture) -> Floats:
        one: Floats = self._embed([picture.open()])[0]
        return one


def to_references(vectors: Floats, samples: Sequence[Sample], features: Features) -> Floats:
    """(N,) mean cosine of unit vectors (N, D) with the references of their items; NaN where an item has none."""
    found = np.full(len(samples), np.nan, dtype=np.float32)
    for at, sample in enumerate(samples):
        if sample.item.references:
            references = np.stack([features.of_reference(picture) for picture in sample.item.references])
            found[at] = float((references @ vectors[at]).mean())
    return found


def to_style(vectors: Floats, samples: Sequence[Sample], features: Features) -> Floats:
    """(N,) cosine of unit vectors (N, D) with the style image; NaN where an item has none."""
    cosines = [float(features.of_reference(sample.item.style) @ vector) if sample.item.style else np.nan
               for sample, vector in zip(samples, vectors, strict=True)]
    return np.array(cosines, dtype=np.float32)
