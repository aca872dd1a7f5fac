"""Exact colours of the drawing sets that the expert knows: to tell by which set a picture is, and to draw like it.

A regression gives colours near the wanted ones, and sets are told apart by the exact ones (LOG.md). So the encoder
carries the commonest colours of each set it was trained on, as data and not as weights.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

FLOOR: Final = 0.02  # of a share of known colours: what chance may give
REACH: Final = 40 / 127.5  # a pixel this near to a colour of the set becomes it
LEAST_KNOWN: Final = 0.6  # a set whose known colours make up less of its pixels is shaded, and stays as it was drawn
ON_THE_LINE: Final = 6 / 127.5  # a set whose colours are all this near to the line between the first two has two inks
STEEPNESS: Final = 4.0  # between two inks; what a quarter of the way keeps is the soft rim of a shape


class Palettes(nn.Module):
    """The K commonest colours of S sets, commonest first: `colours` (S, K, 3) in [-1, 1] and `shares` (S, K) of the
    set's pixels. Without colours (shares of 0) it says and changes nothing."""

    colours: Tensor
    shares: Tensor

    def __init__(self, num_sets: int, num_colours: int) -> None:
        super().__init__()
        self.register_buffer("colours", torch.ones(num_sets, num_colours, 3))
        self.register_buffer("shares", torch.zeros(num_sets, num_colours))

    def membership(self, image: Tensor) -> Tensor:
        """(B, S): the share of the pixels that are not white with a colour of each set, exactly, of (B, 3, H, W)."""
        codes, known = _codes(image.flatten(2).transpose(1, 2)), _codes(self.colours)  # (B, H W), (S, K)
        inked = codes != _codes(torch.ones(1, 1, 3, device=image.device))
        of_set = torch.stack([_among(codes, colours) & inked for colours in known], dim=1)
        share = of_set.float().sum(2) / inked.sum(1, keepdim=True).clamp(min=1)
        return share * (self.shares.sum(1) > 0)

    def settle(self, drawn: Tensor, which: int) -> Tensor:
        """A drawing (3, H, W) laid onto the colours of set `which`, where it is near enough to one."""
        colours, known = self.colours[which].to(drawn.device, torch.float32), float(self.shares[which].sum())
        if known < LEAST_KNOWN:
            return drawn
        pixels = drawn.float().flatten(1).T  # (H W, 3)
        first, way = colours[0], colours[1] - colours[0]
        along = (colours - first) @ way / way.square().sum()
        if (colours - first - along[:, None] * way).norm(dim=1).max() < ON_THE_LINE:
            place = (pixels - first) @ way / way.square().sum()
            laid = first + ((place - 0.5) * STEEPNESS + 0.5).clamp(0, 1)[:, None] * way
        else:
            apart, nearest = torch.cdist(pixels, colours).min(1)
            laid = torch.where((apart < REACH)[:, None], colours[nearest], pixels)
        return laid.T.reshape(drawn.shape).to(drawn.dtype)


def _among(codes: Tensor, known: Tensor) -> Tensor:
    """Which codes are among few known ones: `torch.isin` would sort all pixels for that."""
    ordered = known.sort().values
    places = torch.searchsorted(ordered, codes).clamp(max=len(ordered) - 1)
    return ordered[places] == codes


def _codes(colours: Tensor) -> Tensor:
    """(..., 3) in [-1, 1] -> int64 (...): one number for each of the 2 ** 24 colours."""
    levels = ((colours.float() + 1) * 127.5).round().clamp(0, 255).long()
    return levels[..., 0] << 16 | levels[..., 1] << 8 | levels[..., 2]
