"""Text on pictures with PIL's built-in font: nothing has to be installed, but only ASCII can be drawn."""

from __future__ import annotations

import unicodedata
from functools import cache

from PIL import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@cache
def font(size: int) -> Font:
    """PIL's built-in truetype face, decoded once per size."""
    return ImageFont.load_default(size)


def drawable(text: str) -> str:
    """The text in what the built-in font has: accents are dropped, other scripts become question marks."""
    bare = (c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return "".join(c if " " <= c <= "~" else "?" for c in bare)


def shorten(text: str, width_px: float, face: Font) -> str:
    """The longest beginning that fits, with three dots when something was cut."""
    text = drawable(text)
    if face.getlength(text) <= width_px:
        return text
    while text and face.getlength(text + "...") > width_px:
        text = text[:-1]
    return text.rstrip() + "..."
