"""Noise levels: the resolution-dependent shift of FLUX's flow-matching schedule.

    sigma' = e^mu / (e^mu + 1/sigma - 1),   mu linear in the number of target tokens: 0.5 at 256, 1.15 at 4096

The released USO code counts (w // 8) * (h // 8) // 256 tokens, i.e. 64 at 1024 px where there are 4096, and so samples
with mu 0.4675 instead of 1.15 (bytedance/USO@b6784d7, pipeline.py). `shift="released"` does that; "tokens" counts them.
"""

from __future__ import annotations

from typing import Literal

import torch
from diffusers.pipelines.flux.pipeline_flux import calculate_shift
from torch import Tensor

from pipelines.uso.tokens import PATCH

Shift = Literal["tokens", "released"]


def shift_mu(size: tuple[int, int], shift: Shift = "tokens") -> float:
    """mu for latents of `size` (h, w)."""
    tokens = size[0] * size[1] // (PATCH * PATCH if shift == "tokens" else 256)
    return float(calculate_shift(tokens))


def shifted(sigma: Tensor, mu: float) -> Tensor:
    """sigma in (0, 1] -> sigma', the same shape. 1 stays 1."""
    factor = torch.exp(torch.tensor(mu, dtype=sigma.dtype, device=sigma.device))
    return factor * sigma / (1 + (factor - 1) * sigma)
