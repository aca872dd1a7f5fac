"""Colour-only transfer: the style's colours arrived and its hand did not.

One later count finds that 841 of the 889 styles of OmniStyle-150K only move colour. The question is put as style similarity that
vanishes on luminance: two statistics of the pair (style, stylized), one of colour and one of luminance texture, neither with a network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
from PIL.Image import Image, Resampling
from pydantic import Field

from filters.base import Scorer
from filters.luminance import Plane, luminance

if TYPE_CHECKING:
    from curate.interfaces import Score, ScoreColumns, TripletImages

COLOUR_STEEPNESS = 4.0  # similarity = exp(-4 x distance): 0.1 of the range in one channel's mean costs a third
BINS = (0.0, 0.02, 0.06, 0.15, 0.35, 0.8, np.inf)  # of |response|, in units of the image's contrast
OCTAVES = 3
CONTRAST_FLOOR = 0.02  # of the range; keeps flat images from being all noise


class ColourScorer(Scorer):
    """``colour.only`` in [-1, 1] and ``colour.texture_kept`` in [0, 1].

    ``only`` = colour similarity minus texture similarity of (style, stylized): high where the colours agree and the hand does not.
    ``texture_kept`` = texture similarity of (content, stylized): near 1 where the content's own rendering survived untouched.
    A style that IS a colour change (a wash, a duotone) scores high on both; so this is a flag to read beside CSD, not proof.
    """

    kind: Literal["colour"] = "colour"
    size_px: int = Field(default=64, ge=16)

    @property
    def columns(self) -> tuple[str, ...]:
        """Both columns; high means suspicious."""
        return ("colour.only", "colour.texture_kept")

    def load(self, device: str) -> Score:
        """Nothing to load; runs on the CPU whatever ``device`` says."""
        return self._score

    def _score(self, units: Sequence[TripletImages]) -> ScoreColumns:
        only, kept = [], []
        for unit in units:
            content, style, stylized = (luminance(image, self.size_px) for image in unit[:3])
            only.append(colour_similarity(unit.style, unit.stylized) - texture_similarity(style, stylized))
            kept.append(texture_similarity(content, stylized))
        return {"colour.only": np.array(only, dtype=np.float32), "colour.texture_kept": np.array(kept, dtype=np.float32)}


def colour_similarity(first: Image, second: Image) -> float:
    """In (0, 1]: agreement of the mean and deviation of each opponent colour channel.

    These are the statistics that colour transfer matches (Reinhard et al., "Color transfer between images", 2001).
    """
    a, b = (_opponent(image).reshape(-1, 3) for image in (first, second))
    distance = np.abs(a.mean(axis=0) - b.mean(axis=0)).sum() + np.abs(a.std(axis=0) - b.std(axis=0)).sum()
    return float(np.exp(-COLOUR_STEEPNESS * distance))


def texture_similarity(first: Plane, second: Plane) -> float:
    """In [0, 1]: mean intersection of the histograms of band and edge responses, in three octaves, contrast taken out.

    Histograms of filter responses as texture (Heeger and Bergen, SIGGRAPH 1995); intersection after Swain and Ballard (1991).
    """
    a, b = _texture(first), _texture(second)
    return float(np.minimum(a, b).sum(axis=1).mean())


def _opponent(image: Image) -> npt.NDArray[np.float32]:
    """(H, W, 3): intensity, red-green, yellow-blue; reduced to at most 64 px, which means and deviations survive."""
    small = image.convert("RGB").resize((64, 64), Resampling.BOX)
    r, g, b = np.moveaxis(np.asarray(small, dtype=np.float32) / 255, 2, 0)
    return np.stack([(r + g + b) / 3, r - g, (r + g) / 2 - b], axis=2)


def _texture(plane: Plane) -> npt.NDArray[np.float64]:
    """(OCTAVES * 5, bins) histograms, each summing to 1."""
    plane = (plane - plane.mean()) / (plane.std() + CONTRAST_FLOOR)
    rows = []
    for _ in range(OCTAVES):
        smooth = _blur(plane)
        responses = (plane - smooth, plane[:, 1:] - plane[:, :-1], plane[1:] - plane[:-1],
                     plane[1:, 1:] - plane[:-1, :-1], plane[1:, :-1] - plane[:-1, 1:])
        rows += [np.histogram(np.abs(response), bins=BINS)[0] / response.size for response in responses]
        plane = smooth[::2, ::2]
    return np.array(rows)


def _blur(plane: Plane) -> Plane:
    """Binomial 1-2-1 filter in both directions, edges repeated."""
    padded = np.pad(plane, 1, mode="edge")
    rows = (padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4
    blurred: Plane = (rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:]) / 4
    return blurred
