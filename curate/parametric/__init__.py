"""Parametric styles: image filters with parameters, whose exact effect on any subject is known.

Applied alike to two subjects a style gives (content, style reference, target) with every pixel true; undone, it
is the truth of de-stylization. numpy and PIL only, under a millisecond at 64 px.
"""

from curate.parametric.presets import PRESETS
from curate.parametric.style import ACCENTS, FAMILIES, Style, apply_style, plain, sample_style

__all__ = ["ACCENTS", "FAMILIES", "PRESETS", "Style", "apply_style", "plain", "sample_style"]
