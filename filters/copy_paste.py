"""Copy-paste: a "shifted" triplet whose content lies pixel on pixel over its target.

Readers of USO-like data complain of it: the layout was to change and the generator copied it. Style transfer changes
colours, contrast and sometimes the polarity of edges, so intensities cannot be compared; where edges run can.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from filters.base import Scorer

if TYPE_CHECKING:
    from curate.interfaces import Score, ScoreColumns, TripletImages
    from filters.luminance import Plane


class CopyPasteScorer(Scorer):
    """Column ``copy_paste.alignment`` in [-1, 1]: about 1 for the same edges in the same places, about 0 for others.

    It is written for every unit: low is wanted where the layout is "shifted", high where it is "preserved".
    ``size_px``: both images are reduced to this; ``tolerance_px``: shifts up to this count as the same place.
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
        import numpy as np

        from filters.luminance import luminance

        values = [alignment(luminance(unit.content, self.size_px), luminance(unit.stylized, self.size_px),
                            tolerance_px=self.tolerance_px) for unit in units]
        return {"copy_paste.alignment": np.array(values, dtype=np.float32)}


def alignment(first: Plane, second: Plane, *, tolerance_px: int) -> float:
    """Greatest correlation of the two edge fields over shifts up to ``tolerance_px``; NaN where an image has no edges.

    The edge field is the doubled-angle gradient g^2/|g| with g = dx + i dy, as complex numbers: orientation counts and polarity does
    not (orientation correlation, Fitch et al., BMVC 2002; doubling the angle is Granlund's). Its normalised cross-correlation over
    all shifts is one product of Fourier transforms; shifts are cyclic, on planes padded by the tolerance.
    """
    import numpy as np

    a, b = (np.pad(_edges(plane), tolerance_px) for plane in (first, second))
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    if norm == 0:
        return float("nan")
    surface = np.fft.ifft2(np.fft.fft2(a).conj() * np.fft.fft2(b)).real / norm
    near = np.arange(-tolerance_px, tolerance_px + 1)
    return float(surface[np.ix_(near, near)].max())


def _edges(plane: Plane) -> np.ndarray:  # type: ignore[name-defined]  # noqa: F821
    raise NotImplementedError
