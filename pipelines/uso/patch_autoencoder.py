"""`PatchAutoencoder`: the compact USO's VAE, a linear code of 8 x 8 px patches with a convolutional correction.

FLUX's `AutoencoderKL` finds such a code only after hours of CPU: its decoder must tell the pixels of a patch apart by
nearest-neighbour upsampling alone. Here code and its inverse are linear and start as principal components of patches
(see `curate.zoo.uso_vae`), and everything else is computed on the grid of patches. Encoding a picture costs next to
nothing, and what a style does to colours stays nearly linear in the latents.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput, DiagonalGaussianDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from diffusers.models.modeling_utils import ModelMixin
from diffusers.utils.accelerate_utils import apply_forward_hook
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

LOG_VARIANCE = -20.0  # the posterior is a point; it has the class that AutoencoderKL gives


class PatchAutoencoder(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Called as `AutoencoderKL` is: `encode(images).latent_dist`, `decode(latents, return_dict=False)[0]`.

    images    float (B, 3, H, W) in [-1, 1], sides multiples of `patch_px`
    latents   (B, latent_channels, H / patch_px, W / patch_px)
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        latent_channels: int = 32,
        patch_px: int = 8,
        width: int = 192,
        depth: int = 3,
        scaling_factor: float = 1.0,
        shift_factor: float = 0.0,
    ) -> None:
        super().__init__()
        depth_of_patch = 3 * patch_px**2
        self.code = nn.Conv2d(depth_of_patch, latent_channels, 1)
        self.uncode = nn.Conv2d(latent_channels, depth_of_patch, 1)
        self.encoder = _Correction(depth_of_patch, latent_channels, width=width, depth=depth)
        self.decoder = _Correction(latent_channels, depth_of_patch, width=width, depth=depth)

    @property
    def spatial_compression_ratio(self) -> int:
        """Pixels along a latent's side."""
        return int(self.config.patch_px)

    @apply_forward_hook  # type: ignore[untyped-decorator]
    def encode(self, images: Tensor, return_dict: bool = True) -> Any:
        """Raises ValueError for sides that are no multiples of the patch."""
        if images.shape[-2] % self.config.patch_px or images.shape[-1] % self.config.patch_px:
            raise ValueError(f"{tuple(images.shape)}: sides must be multiples of {self.config.patch_px} px")
        patches = pixel_unshuffle(images, self.config.patch_px)
        mean = self.code(patches) + self.encoder(patches)
        found = DiagonalGaussianDistribution(torch.cat([mean, torch.full_like(mean, LOG_VARIANCE)], dim=1))
        return AutoencoderKLOutput(latent_dist=found) if return_dict else (found,)

    @apply_forward_hook  # type: ignore[untyped-decorator]
    def decode(self, latents: Tensor, return_dict: bool = True) -> Any:
        """Pictures, not clamped."""
        sample = pixel_shuffle(self.uncode(latents) + self.decoder(latents), self.config.patch_px)
        return DecoderOutput(sample=sample) if return_dict else (sample,)


class _Correction(nn.Module):
    """Residual blocks over the grid of patches; it begins as zero."""

    def __init__(self, inward: int, outward: int, *, width: int, depth: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inward, width, 3, padding=1)
        self.blocks = nn.ModuleList(_Block(width) for _ in range(depth))
        self.last = nn.Conv2d(width, outward, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        assert self.last.bias is not None
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.last(nn.functional.silu(x))
        return out


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.GroupNorm(8, width),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(width, width, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.body(x)
        return out
