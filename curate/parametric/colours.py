"""Random colours and numbers for style parameters, rounded so that a style's JSON is short and exact."""

import colorsys

import numpy as np

from curate.parametric.canvas import Colour


def number(rng: np.random.Generator, low: float, high: float) -> float:
    """Uniform in [low, high)."""
    return round(float(rng.uniform(low, high)), 3)


def hsv(hue: float, saturation: float, value: float) -> Colour:
    """All in [0, 1]; hue wraps."""
    return tuple(round(channel, 3) for channel in colorsys.hsv_to_rgb(hue % 1, saturation, value))


def any_paper(rng: np.random.Generator) -> Colour:
    """A background: pale in half of the draws, strong in a third, else dark."""
    kind = rng.random()
    hue = rng.random()
    if kind < 0.5:
        return hsv(hue, rng.uniform(0.05, 0.4), rng.uniform(0.85, 1.0))
    if kind < 0.83:
        return hsv(hue, rng.uniform(0.35, 0.9), rng.uniform(0.55, 0.95))
    return hsv(hue, rng.uniform(0.2, 0.8), rng.uniform(0.08, 0.35))


def pale(rng: np.random.Generator) -> Colour:
    """A light colour."""
    return hsv(rng.random(), rng.uniform(0.05, 0.45), rng.uniform(0.88, 1.0))


def strong(rng: np.random.Generator) -> Colour:
    """A saturated colour of middle lightness."""
    return hsv(rng.random(), rng.uniform(0.55, 0.95), rng.uniform(0.6, 1.0))


def dark(rng: np.random.Generator) -> Colour:
    """An ink."""
    return hsv(rng.random(), rng.uniform(0.2, 0.9), rng.uniform(0.03, 0.35))
