"""Papers: the colours of the ground that a picture lies on, as the U-Net is shown them.

A ground may be one colour, be framed, or change along the picture (skies, stripes). So there are four readings: one
colour at the border and one inside of a frame, a colour for each row (its two ends) and one for each column.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from pipelines.compact.layout import paper_of

PAPER_INSETS_PX: Final = (0, 6)  # where the one colour is read: at the border, and inside of a frame
NUM_GROUNDS: Final = len(PAPER_INSETS_PX) + 2
# A squared colour distance of 1 / 20, in [-1, 1] (6 % of the range in each channel), is 1 / e alike.
LIKENESS_SHARPNESS: Final = 20.0


def papers_of(image: Tensor) -> Tensor:
    """The paper colours of (B, 3, H, W), one for each inset: (B, papers, 3)."""
    return torch.stack([paper_of(image, inset_px=inset) for inset in PAPER_INSETS_PX], dim=1)


def grounds_of(image: Tensor) -> Tensor:
    """(B, 3, H, W) -> (B, NUM_GROUNDS, 3, H, W): the papers, then each row's and each column's mean of its two ends."""
    whole = papers_of(image)[..., None, None].expand(-1, -1, -1, *image.shape[-2:])
    rows = (image[..., :1] + image[..., -1:]) / 2
    columns = (image[..., :1, :] + image[..., -1:, :]) / 2
    lines = torch.stack([rows.expand_as(image), columns.expand_as(image)], dim=1)
    return torch.cat([whole, lines], dim=1)


def likeness(image: Tensor, grounds: Tensor) -> Tensor:
    """How much each pixel has a ground's colour, 1 for equal: (B, G, H, W) of (B, 3, H, W) and (B, G, 3, H, W)."""
    return torch.exp(-LIKENESS_SHARPNESS * (image[:, None] - grounds).square().sum(2))
