"""Flow matching: x_sigma = (1 - sigma) x + sigma noise, and the network learns the velocity noise - x.

All randomness of a sample is a function of (seed, position), whatever the batch, the rank or the world size: two
workers with half a batch each draw what one worker draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from curate import seeds
from curate.config import StrictModel
from pipelines.uso.model import Conditions, UsoDenoiser
from pipelines.uso.schedule import Shift, shift_mu, shifted


class FlowConfig(StrictModel):
    """How noise levels are drawn.

    timesteps  "uniform": uniform, then shifted (UNO's released trainer); "logit_normal": sigmoid of a normal
               (Stable Diffusion 3, arXiv 2403.03206, section 3.1), then shifted. USO's own choice is undisclosed.
    shift      which token count sets the shift ("none": no shift), see `pipelines.uso.schedule`
    guidance   fed to models with a guidance embedding; 1 in UNO's trainer
    """

    timesteps: Literal["uniform", "logit_normal"] = "uniform"
    mean: float = 0.0
    std: float = Field(default=1.0, gt=0)
    shift: Shift | Literal["none"] = "tokens"
    guidance: float = 1.0


@dataclass(frozen=True)
class Noised:
    """sigma (B,) in (0, 1]; noise and latents at sigma, (B, C, h, w)."""

    sigma: Tensor
    noise: Tensor
    latents: Tensor


def generator_at(seed: int, position: int, *names: str) -> torch.Generator:
    """The CPU generator of one sample for one purpose."""
    return torch.Generator().manual_seed(seeds.seed(seed, position, *names))


def noise_at(seed: int, positions: Sequence[int], shape: Sequence[int], *names: str) -> Tensor:
    """Standard normal float32 (B, *shape), each sample from its own position."""
    return torch.stack([torch.randn(*shape, generator=generator_at(seed, each, *names)) for each in positions])


def sigmas_at(config: FlowConfig, seed: int, positions: Sequence[int], size: tuple[int, int]) -> Tensor:
    """Noise levels (B,) in (0, 1] for latents of `size` (h, w)."""
    generators = [generator_at(seed, position, "sigma") for position in positions]
    if config.timesteps == "uniform":
        drawn = 1 - torch.cat([torch.rand(1, generator=each) for each in generators])  # (0, 1]
    else:
        normal = torch.cat([torch.randn(1, generator=each) for each in generators])
        drawn = torch.sigmoid(config.mean + config.std * normal)
    return drawn if config.shift == "none" else shifted(drawn, shift_mu(size, config.shift))


def noised(config: FlowConfig, latents: Tensor, *, seed: int, positions: Sequence[int]) -> Noised:
    """Latents (B, C, h, w) brought to a random noise level each."""
    size = (latents.shape[-2], latents.shape[-1])
    sigma = sigmas_at(config, seed, positions, size).to(latents.device)
    noise = noise_at(seed, positions, latents.shape[1:], "noise").to(latents.device)
    level = sigma.view(-1, 1, 1, 1)
    return Noised(sigma, noise, (1 - level) * latents.float() + level * noise)


def flow_losses(
    denoiser: UsoDenoiser, latents: Tensor, conditions: Conditions, at: Noised, *, guidance: float
) -> Tensor:
    """Mean squared error of the velocity, one number a sample: float32 (B,)."""
    predicted = denoiser(at.latents.to(conditions.text.dtype), at.sigma, conditions, guidance)
    error: Tensor = predicted.float() - (at.noise - latents.float())
    return error.square().mean(dim=(1, 2, 3))
