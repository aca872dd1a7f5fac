"""Lines of an image for a ControlNet, white on black: Canny edges, or line art by a difference of Gaussians."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

    from pipelines.editors.options import ControlInput

REFERENCE_PX = 512


def control_image(config: ControlInput, image: Image) -> Image:
    """RGB lines of the same size, by scikit-image.

    canny    Canny 1986
    lineart  a difference of Gaussians (scales sigma and 1.6 sigma, Marr and Hildreth 1980), dark lines become white
    """
    from PIL import Image as PilImage
    from skimage import feature, filters  # untyped

    grey = np.asarray(image.convert("L"), dtype=np.float64) / 255  # (H, W)
    sigma = config.sigma * max(image.size) / REFERENCE_PX
    if config.detector == "canny":
        found = feature.canny(grey, sigma, low_threshold=config.low, high_threshold=config.high).astype(np.float64)
    else:
        darker = np.maximum(-filters.difference_of_gaussians(grey, sigma, 1.6 * sigma), 0)
        found = darker / max(darker.max(), 1e-6)
    lines = (found * 255).round().astype(np.uint8)
    return PilImage.fromarray(lines).convert("RGB")
