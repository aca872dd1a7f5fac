"""Named, fixed styles, visibly different from one another: what the quick start's sources are drawn in."""

from collections.abc import Mapping
from typing import Any, Final

from curate.parametric.style import Style


def _style(family: str, accent: Style | None = None, **params: Any) -> Style:
    return Style(family=family, params=params, accent=accent)


PRESETS: Final[Mapping[str, Style]] = {
    "rose-paper": _style("paper", paper=(0.98, 0.76, 0.80)),
    "teal-paper": _style("paper", paper=(0.16, 0.55, 0.55)),
    "amber-glass": _style("wash", paper=(1.0, 0.98, 0.9), tint=(1.0, 0.62, 0.12), amount=0.75),
    "deep-sea": _style("wash", paper=(0.9, 0.97, 1.0), tint=(0.1, 0.45, 0.85), amount=0.75),
    "sepia": _style("duotone", ink=(0.22, 0.12, 0.05), paper=(0.96, 0.88, 0.72), chroma=0.2),
    "cyanotype": _style("duotone", ink=(0.02, 0.12, 0.35), paper=(0.85, 0.93, 0.98), chroma=0.25),
    "riso-pink": _style("duotone", ink=(0.15, 0.1, 0.4), paper=(1.0, 0.55, 0.65), chroma=0.4),
    "sunset": _style("tritone", ink=(0.2, 0.05, 0.3), middle=(0.95, 0.35, 0.25), paper=(1.0, 0.92, 0.65), chroma=0.3),
    "forest": _style("tritone", ink=(0.03, 0.15, 0.1), middle=(0.3, 0.6, 0.25), paper=(0.95, 0.97, 0.8), chroma=0.35),
    "film-negative": _style("negative", paper=(0.98, 0.9, 0.85), gain=0.95, lift=(0.1, 0.05, 0.02)),
    "screenprint": _style("poster", paper=(0.98, 0.85, 0.3), levels=3.0, contrast=1.35),
    "morning-mist": _style("faded", top=(0.75, 0.86, 0.98), bottom=(1.0, 0.86, 0.76), fade=0.42),
    "dusk": _style("faded", top=(0.16, 0.12, 0.38), bottom=(0.95, 0.45, 0.4), fade=0.25),
    "teal-orange": _style("split", paper=(0.1, 0.28, 0.32), warm=(1.0, 0.6, 0.2), cool=(0.0, 0.25, 0.3), amount=0.55),
    "white-sticker": _style("outline", paper=(0.45, 0.72, 0.95), ink=(1.0, 1.0, 1.0), width=2.2),
    "ink-outline": _style("outline", paper=(0.97, 0.95, 0.88), ink=(0.05, 0.04, 0.08), width=1.6),
    "neon-pink": _style("glow", paper=(0.08, 0.02, 0.14), light=(1.0, 0.2, 0.7), radius=4.0, rise=0.15),
    "neon-green": _style("glow", paper=(0.02, 0.1, 0.06), light=(0.3, 1.0, 0.4), radius=3.0, rise=0.3),
    "long-shadow": _style("shadow", paper=(1.0, 0.8, 0.35), ink=(0.75, 0.3, 0.15), down=4.0, right=4.0),
    "comic-dots": _style("halftone", paper=(1.0, 0.96, 0.8), ink=(0.8, 0.1, 0.2), pitch=5.0, angle=0.6, amount=0.7),
    "newsprint": _style(
        "halftone", paper=(0.9, 0.89, 0.85), ink=(0.1, 0.1, 0.12), pitch=4.2, angle=0.78, amount=0.75
    ),
    "pen-hatch": _style("hatch", paper=(0.99, 0.97, 0.92), ink=(0.08, 0.08, 0.15), pitch=3.6, angle=0.8, amount=0.8),
    "television": _style(
        "scanline", paper=(0.2, 0.24, 0.3), ink=(0.02, 0.04, 0.05), pitch=4.0, upright=0.0, amount=0.6
    ),
    "deckchair": _style(
        "scanline", paper=(0.98, 0.98, 0.95), ink=(0.2, 0.45, 0.9), pitch=8.0, upright=1.0, amount=0.45
    ),
    "picnic": _style("checker", paper=(0.98, 0.96, 0.94), second=(0.9, 0.25, 0.25), pitch=8.0, stripes=0.0),
    "candy-stripe": _style("checker", paper=(1.0, 0.9, 0.95), second=(0.6, 0.85, 0.95), pitch=9.0, stripes=1.0),
    "eight-bit": _style("pixel", paper=(0.55, 0.75, 0.45), block=3.0, levels=6.0),
    "rough-kraft": _style("grain", paper=(0.82, 0.66, 0.46), ink=(0.3, 0.18, 0.08), cell=2.0, seed=3.0, amount=0.6),
    "snowfall": _style("grain", paper=(0.3, 0.4, 0.6), ink=(0.95, 0.97, 1.0), cell=3.5, seed=5.0, amount=0.7),
    "clay": _style("emboss", paper=(0.85, 0.55, 0.4), angle=0.8, depth=1.0, clay=0.55),
    "stained-glass": _style("stained", paper=(0.75, 0.88, 0.95), lead=(0.05, 0.05, 0.08), boost=1.7),
    "blackboard": _style("blueprint", paper=(0.12, 0.22, 0.18), chalk=(0.96, 0.96, 0.9), fill=0.35),
    "blueprint": _style("blueprint", paper=(0.1, 0.3, 0.75), chalk=(0.92, 0.96, 1.0), fill=0.25),
    "misprint": _style("misprint", paper=(0.96, 0.94, 0.86), down=1.0, right=3.0),
    "postage-stamp": _style("frame", paper=(0.88, 0.95, 0.86), ink=(0.8, 0.15, 0.3), width=4.5, amount=0.9),
}
