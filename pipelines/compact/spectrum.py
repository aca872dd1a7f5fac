"""Spectrum: how strongly a picture repeats at each pitch and angle, whatever it shows and wherever it shows it."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

from pipelines.compact.tones import luminance

FINEST: Final = 24  # cycles over a picture: a pitch of 2.7 px at 64 px
BIN: Final = 3  # neighbouring frequencies that count as one
NUM_FREQUENCIES: Final = (2 * FINEST // BIN) * (FINEST // BIN)


def spectrum(image: Tensor) -> Tensor:
    """Logarithm of the amplitudes of the luminance, in bins of `BIN` x `BIN` cycles: (B, 3, H, W) in [-1, 1] ->
    (B, NUM_FREQUENCIES). One half of the plane, for the other mirrors it."""
    amplitude = torch.fft.rfft2(luminance(image.float()), norm="ortho").abs()
    low = torch.cat([amplitude[:, -FINEST:, :FINEST], amplitude[:, :FINEST, :FINEST]], dim=1)
    return F.max_pool2d(low, BIN).add(0.05).log().flatten(1).to(image.dtype)
