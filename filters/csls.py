"""CSLS: a cosine corrected for hubs, vectors that are near to everything (Conneau et al., arXiv 1710.04087, eq. 3).

    CSLS(x, y) = 2 cos(x, y) - r(x) - r(y),    r(x) = mean cosine of x with its k nearest neighbours in a reference bank

Raw CSD cosines are not calibrated: two drawings in a common style look alike to every third picture. CSLS subtracts
that. The bank holds images of the kind at hand, in many styles, and none of the run's own: an image finds itself there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL.Image import Image
from pydantic import Field

from curate.config import StrictModel
from curate.errors import ImageError, ModelError
from curate.images import decode
from curate.interfaces import PAIRS
from filters.matrix import Floats, matrix_cosines, pair_roles

VECTORS = "vectors"
"""Name of the array in a bank's npz file."""


class CslsConfig(StrictModel):
    """``bank``: a folder of images, or an npz file with ``vectors`` (M, D) of the same network; ``neighbours``: k."""

    bank: str
    neighbours: int = Field(default=10, ge=1)


class ReferenceBank:
    """(M, D) unit vectors, and how near others come to them."""

    def __init__(self, vectors: Floats, *, neighbours: int) -> None:
        self.vectors, self.neighbours = vectors, neighbours

    def nearness(self, vectors: Floats) -> Floats:
        """r (N,) of unit vectors (N, D)."""
        cosines = vectors @ self.vectors.T
        nearest = np.partition(cosines, -self.neighbours, axis=1)[:, -self.neighbours :]
        found: Floats = nearest.mean(axis=1)
        return found

    def matrix(self, prefix: str, vectors: Floats) -> dict[str, Floats]:
        """``<prefix>.<pair>`` in [-4, 4], (N,) each, from unit vectors (3N, D) in the order of ``image_list``."""
        nearness = self.nearness(vectors)
        cosines = matrix_cosines(prefix, vectors)
        for pair in PAIRS:
            first, second = pair_roles(pair)
            cosines[f"{prefix}.{pair}"] = 2 * cosines[f"{prefix}.{pair}"] - nearness[first::3] - nearness[second::3]
        return cosines


def read_bank(config: CslsConfig, *, width: int, embed: Callable[[Sequence[Image]], Floats]) -> ReferenceBank:
    """The bank of unit vectors of ``width``; images are embedded in the order of their names.

    ModelError where it cannot be read, is of another width, or holds fewer vectors than neighbours are asked for.
    """
    path = Path(config.bank)
    vectors = _embedded(path, embed) if path.is_dir() else _stored(path)
    if vectors.ndim != 2 or vectors.shape[1] != width or not np.isfinite(vectors).all():
        raise ModelError(f"csls.bank {path}: {vectors.shape} is not finite (M, {width}), this network's vectors")
    if len(vectors) < config.neighbours:
        raise ModelError(f"csls.bank {path}: {len(vectors)} vectors for {config.neighbours} neighbours")
    units = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return ReferenceBank(units.astype(np.float32), neighbours=config.neighbours)


def _embedded(folder: Path, embed: Callable[[Sequence[Image]], Floats]) -> Floats:
    images = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        try:
            images.append(decode(path.read_bytes()))
        except (ImageError, OSError) as error:
            raise ModelError(f"csls.bank: {path}: {error}") from error
    return embed(images) if images else np.empty((0, 0), np.float32)


def _stored(path: Path) -> Floats:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found: Floats = arrays[VECTORS]
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise ModelError(f"csls.bank {path}: no folder of images and no npz with {VECTORS!r}: {error}") from error
    return found
