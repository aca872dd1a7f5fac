"""Copy-paste: a "shifted" triplet whose content lies pixel on pixel over its target.

Readers of USO-like data complain of it: the layout was to change and the generator kept it. Style transfer
changes colours, contrast and the polarity of edges, so intensities cannot be compared; where edges run can.
On emoji, a drawing and its own restyling against another set's drawing of the same subject: AUC 0.98, 95 % of
the others below 0.36, 90 % of the copies above 0.42.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from filters.base import Scorer
from filters.luminance import Plane, edge_strength, luminance

if TYPE_CHECKING:
    from curate.interfaces import Score, ScoreColumns, TripletImages


class CopyPasteScorer(Scorer):
    """Column ``copy_paste.alignment`` in [-1, 1]: near 1 for the same edges in the same places.

    It is written for every unit: low is wanted where the layout is "shifted", high where it is "preserved".
    NaN where an image has no edges. ``size_px``: both images are reduced to this; ``tolerance_px``: shifts up
    to this are the same place.
    """

    kind: Literal["copy_paste"] = "copy_paste"
    size_px: int = Field(default=64, ge=16)
    tolerance_px: int = Field(default=1, ge=0)

    @property
    def columns(self) -> tuple[str, ...]:
        """The one alignment column."""
        return ("copy_paste.alignment",)

    def load(self, device: str) -> Score:
        """Nothing to load; runs on the CPU whatever ``device`` says."""
        return self._score

    def _score(self, units: Sequence[TripletImages]) -> ScoreColumns:
        values = [
            alignment(
                luminance(unit.content, self.size_px),
                luminance(unit.stylized, self.size_px),
                tolerance_px=self.tolerance_px,
            )
            for unit in units
        ]
        return {"copy_paste.alignment": np.array(values, dtype=np.float32)}


def alignment(first: Plane, second: Plane, *, tolerance_px: int) -> float:
    """Greatest correlation of two edge maps over small shifts; NaN where one of them is flat.

    The normalised cross-correlation of gradient magnitudes, all shifts at once by Fourier transforms (Lewis,
    "Fast normalized cross-correlation", Vision Interface 1995); planes are padded by the tolerance because
    the transform's shifts are cyclic. Doubled-angle gradients (orientation correlation) did no better: AUC
    0.973 against 0.979.
    """
    a, b = (
        np.pad(edges - edges.mean(), tolerance_px) for edges in (edge_strength(first), edge_strength(second))
    )
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    if norm < 1e-6:
        return float("nan")
    surface = np.fft.ifft2(np.fft.fft2(a).conj() * np.fft.fft2(b)).real / norm
    near = np.arange(-tolerance_px, tolerance_px + 1)
    return float(surface[np.ix_(near, near)].max())
