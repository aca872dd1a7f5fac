"""A style in words: what a caption says of a set or of a parametric style, colours by plain names."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import Final

from curate.parametric import Style

HUES: Final = ("red", "orange", "yellow", "lime", "green", "mint", "cyan", "azure", "blue", "violet", "magenta", "rose")


def colour_word(colour: Sequence[float]) -> str:
    """RGB in [0, 1] -> "dark blue", "pale rose", "grey": one of 41 names, by hue, saturation and value."""
    hue, saturation, value = colorsys.rgb_to_hsv(*colour)
    if value < 0.12:
        return "black"
    if saturation < 0.08:
        return "white" if value > 0.9 else "grey" if value > 0.45 else "dark grey"
    name = HUES[round(hue * len(HUES)) % len(HUES)]
    if value < 0.45:
        return f"dark {name}"
    return f"pale {name}" if saturation < 0.42 else name


def describe(style: Style) -> str:
    """ "halftone, pale yellow paper, red ink": family, then its colours as the family names them, then the accent."""
    coloured = [(name, value) for name, value in sorted(style.params.items()) if isinstance(value, tuple)]
    colours = [f"{colour_word(value)} {name}" for name, value in coloured]
    accent = [] if style.accent is None else [f"with {describe(style.accent)}"]
    return ", ".join([style.family, *colours, *accent])


def describe_set(name: str) -> str:
    """ "noto drawing", for a drawing as its set made it."""
    return f"{name.replace('-', ' ')} drawing"
