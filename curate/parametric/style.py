"""A style is a family and its parameters, and sometimes a second, lighter one on top: data, not code.

The families stand in one explicit table. `sample_style` draws a style, `apply_style` paints a subject in it;
both are pure.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from curate.parametric import inks, tones
from curate.parametric.canvas import Canvas

Sampler: TypeAlias = Callable[[np.random.Generator], dict[str, Any]]
Painter: TypeAlias = Callable[[Canvas, Mapping[str, Any]], Canvas]

_TABLE: Final[Mapping[str, tuple[Sampler, Painter]]] = {
    "paper": (tones.paper_params, tones.paint_paper),
    "wash": (tones.wash_params, tones.paint_wash),
    "duotone": (tones.duotone_params, tones.paint_duotone),
    "tritone": (tones.tritone_params, tones.paint_tritone),
    "negative": (tones.negative_params, tones.paint_negative),
    "poster": (tones.poster_params, tones.paint_poster),
    "faded": (tones.faded_params, tones.paint_faded),
    "split": (tones.split_params, tones.paint_split),
    "outline": (inks.outline_params, inks.paint_outline),
    "glow": (inks.glow_params, inks.paint_glow),
    "shadow": (inks.shadow_params, inks.paint_shadow),
    "halftone": (inks.halftone_params, inks.paint_halftone),
    "hatch": (inks.hatch_params, inks.paint_hatch),
    "scanline": (inks.scanline_params, inks.paint_scanline),
    "checker": (inks.checker_params, inks.paint_checker),
    "pixel": (inks.pixel_params, inks.paint_pixel),
    "grain": (inks.grain_params, inks.paint_grain),
    "emboss": (inks.emboss_params, inks.paint_emboss),
    "stained": (inks.stained_params, inks.paint_stained),
    "blueprint": (inks.blueprint_params, inks.paint_blueprint),
    "misprint": (inks.misprint_params, inks.paint_misprint),
    "frame": (inks.frame_params, inks.paint_frame),
}

FAMILIES: Final = tuple(_TABLE)
# What may lie on top of another style: painters that take an opaque picture and leave it recognisable.
ACCENTS: Final = ("wash", "scanline", "grain", "frame")
ACCENT_CHANCE: Final = 0.2


@dataclass(frozen=True)
class Style:
    """One style. Parameters are floats, or colours as tuples of three floats in [0, 1]; lengths are in 64ths
    of the height."""

    family: str
    params: Mapping[str, Any]
    accent: "Style | None" = None

    def __post_init__(self) -> None:
        if self.family not in _TABLE:
            raise ValueError(f"unknown style family {self.family!r}; known: {', '.join(FAMILIES)}")

    def to_json(self) -> str:
        """One line, keys sorted: the same style gives the same text."""
        return json.dumps(self._as_dict(), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The inverse of `to_json`."""
        return cls._from_dict(json.loads(text))

    def _as_dict(self) -> dict[str, Any]:
        accent = None if self.accent is None else self.accent._as_dict()
        return {"family": self.family, "params": dict(self.params), "accent": accent}

    @classmethod
    def _from_dict(cls, value: Mapping[str, Any]) -> Self:
        params = {key: tuple(item) if isinstance(item, list) else item for key, item in value["params"].items()}
        accent = None if value["accent"] is None else cls._from_dict(value["accent"])
        return cls(family=value["family"], params=params, accent=accent)


def sample_style(rng: np.random.Generator, family: str | None = None) -> Style:
    """Draw a style, of one family or of any; a fifth carries an accent."""
    chosen = family or FAMILIES[int(rng.integers(len(FAMILIES)))]
    if chosen not in _TABLE:
        raise ValueError(f"unknown style family {chosen!r}; known: {', '.join(FAMILIES)}")
    params = _TABLE[chosen][0](rng)
    accent = None
    if rng.random() < ACCENT_CHANCE:
        name = ACCENTS[int(rng.integers(len(ACCENTS)))]
        if name != chosen:
            accent = Style(family=name, params=_TABLE[name][0](rng))
    return Style(family=chosen, params=params, accent=accent)


def apply_style(style: Style, rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Paint straight RGBA, uint8 (H, W, 4), in a style: uint8 RGB (H, W, 3). A function of its arguments
    alone."""
    if rgba.dtype != np.uint8 or rgba.ndim != 3 or rgba.shape[2] != 4:
        raise ValueError(f"expected uint8 (H, W, 4), got {rgba.dtype} {rgba.shape}")
    canvas = _TABLE[style.family][1](rgba.astype(np.float32) / 255, style.params)
    if style.accent is not None:
        opaque = np.concatenate([np.clip(canvas, 0, 1), np.ones_like(canvas[..., :1])], axis=-1)
        canvas = _TABLE[style.accent.family][1](opaque, style.accent.params)
    return (np.clip(canvas, 0, 1) * 255 + 0.5).astype(np.uint8)


def plain(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """As drawn, over white: what de-stylization gives back."""
    return apply_style(_PLAIN, rgba)


_PLAIN: Final = Style(family="paper", params={"paper": (1.0, 1.0, 1.0)})
