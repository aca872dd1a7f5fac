"""Perceptual hash of the target, for near-duplicate clusters when a dataset is sealed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from filters.base import Scorer

if TYPE_CHECKING:
    from PIL.Image import Image

    from curate.interfaces import Score, ScoreColumns, TripletImages


class PhashScorer(Scorer):
    """Column ``phash.bits``: the 64 bits of imagehash's ``phash`` (low DCT frequencies) as one int64."""

    kind: Literal["phash"] = "phash"

    @property
    def columns(self) -> tuple[str, ...]:
        """The one hash column."""
        return ("phash.bits",)

    def load(self, device: str) -> Score:
        """Nothing to load; runs on the CPU whatever ``device`` says."""
        return score_phash


def score_phash(units: Sequence[TripletImages]) -> ScoreColumns:
    """int64 (N,) hashes of the stylized images."""
    import numpy as np

    return {"phash.bits": np.array([hash_bits(unit.stylized) for unit in units], dtype=np.int64)}


def hash_bits(image: Image) -> int:
    """Signed 64-bit integer; first bit of the hash is the highest. Hamming distance counts differing bits."""
    import imagehash
    import numpy as np

    bits = np.packbits(imagehash.phash(image).hash.ravel())
    return int.from_bytes(bits.tobytes(), "big", signed=True)
