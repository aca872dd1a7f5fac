"""Style reward learning (USO, arXiv 2508.18966, section 3.4; it extends ReFL, arXiv 2304.05977).

    L = L_flow + lambda L_SRL,   lambda = 0 before step S and constant after (equation 6)
    L_SRL = -R(x0_hat, I_s)      R: style similarity of the decoded one-step estimate to the style image (equation 5)

Algorithm 1, line by line, for a schedule of T noise levels from noise to image:
    1  draw a level t from the window [t_s, t_e]
    2  from pure noise, Euler steps without gradient down to the level before t
    3  one step at t WITH gradient
    4  x0_hat = x_t - sigma_t v: the one-step estimate of the image's latents
    5  decode, score against I_s, descend on -R
T, the window and the reward's batch are undisclosed; they are fields here and their defaults our choice.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Self, TypeAlias

import torch
from diffusers import AutoencoderKL
from pydantic import Field, model_validator
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from curate.config import StrictModel
from pipelines.uso.encoders import decode_latents
from pipelines.uso.flow import generator_at
from pipelines.uso.model import Conditions, UsoDenoiser
from pipelines.uso.schedule import Shift, shift_mu, shifted

StyleReward: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""(pictures (B, 3, H, W), style images (B, 3, S, S)), both about [-1, 1] -> similarities (B,), differentiable."""


class RewardConfig(StrictModel):
    """Style reward learning. `start_step` is S, `weight` lambda; 16,000 (stage 1) and 18,000 (stage 2) in the paper.

    num_steps      T, Euler steps of a whole sampling
    window         (t_s, t_e) as shares of T counted from the noise: the step with gradient is one of these
    batch          how many samples of the batch get the reward, of all workers together; None: all that have a style
                   reference, and the mean is over the batch
    recombine      each of these samples takes the next one's style image, and is scored against that: contents meet
                   styles of which there is no triplet, so there is something to gain where the data is small. Not of
                   the paper.
    """

    start_step: int = Field(default=0, ge=0)
    weight: float = Field(default=1.0, ge=0)
    num_steps: int = Field(default=25, ge=1)
    window: tuple[float, float] = (0.5, 0.9)
    batch: int | None = Field(default=None, ge=1)
    recombine: bool = False
    guidance: float = 1.0
    shift: Shift = "tokens"

    @model_validator(mode="after")
    def _window_is_one(self) -> Self:
        low, high = self.window
        if not 0 <= low < high <= 1:
            raise ValueError(f"window must be (low, high) with 0 <= low < high <= 1, not {self.window}")
        return self

    def weight_at(self, step: int) -> float:
        """lambda of an optimiser step."""
        return self.weight if step >= self.start_step else 0.0


def gradient_step(config: RewardConfig, *, seed: int, step: int) -> int:
    """Which Euler step, 0 .. T - 1, carries the gradient at an optimiser step: the same for the whole batch.

    A window too narrow to hold a step stands for the step nearest to its beginning."""
    low, high = (round(share * config.num_steps) for share in config.window)
    low = min(low, config.num_steps - 1)  # at T no noise is left, and nothing for a gradient to go through
    return int(torch.randint(low, max(low + 1, high), (1,), generator=generator_at(seed, step, "reward")))


def estimate(
    config: RewardConfig, denoiser: UsoDenoiser, noise: Tensor, conditions: Conditions, *, at: int
) -> Tensor:
    """Lines 2 to 4: from noise (B, C, h, w) to x0_hat, float32 (B, C, h, w), with the gradient of step `at` alone."""
    levels = torch.linspace(1, 0, config.num_steps + 1, device=noise.device)
    levels = shifted(levels, shift_mu((noise.shape[-2], noise.shape[-1]), config.shift))
    dtype, latents = conditions.text.dtype, noise.float()
    with torch.no_grad():
        for now, after in pairwise(levels[: at + 1]):
            velocity = denoiser(latents.to(dtype), now.expand(len(noise)), conditions, config.guidance)
            latents = latents + (after - now) * velocity.float()
    sigma = levels[at]
    velocity = denoiser(latents.to(dtype), sigma.expand(len(noise)), conditions, config.guidance)
    estimated: Tensor = latents - sigma * velocity.float()
    return estimated


def rewards(
    config: RewardConfig,
    denoiser: UsoDenoiser,
    vae: AutoencoderKL,
    reward: StyleReward,
    noise: Tensor,
    conditions: Conditions,
    styles: Tensor,
    *,
    at: int,
) -> Tensor:
    """R of each sample, (B,), with gradient; L_SRL is minus its mean.

    The decoder's activations are computed again in the backward pass rather than kept: at 1024 px they would be the
    largest thing in memory.
    """
    latents = estimate(config, denoiser, noise, conditions, at=at)
    pictures = checkpoint(decode_latents, vae, latents, use_reentrant=False)
    assert isinstance(pictures, Tensor)
    return reward(pictures.float(), styles)
