"""A style similarity that no training here descends on: channel statistics of the VAE's latents.

Style as the mean and deviation of each feature channel over the picture: the style loss of AdaIN (Huang and Belongie,
arXiv 1703.06868, equation 13), a short form of Gram matrices (Gatys et al., CVPR 2016; Li et al., arXiv 1701.01036,
show both to match distributions of features). The features are latents of the frozen VAE: every base has one, for any
data, and neither the reward (CSD) nor the model's style condition knows them. When a training's reward rises while this
falls, the reward is being hacked.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from pipelines.uso.encoders import encode_latents
from pipelines.uso.pipeline import UsoPipeline


@torch.no_grad()
def style_similarity(pipeline: UsoPipeline, pictures: Tensor, styles: Tensor) -> Tensor:
    """(B, 3, H, W) and (B, 3, S, S) in [-1, 1] -> (B,) in [-1, 1]: 1 where all statistics are equal, 0 where they have
    nothing in common.

    1 - (|mu_p - mu_s|^2 + |sd_p - sd_s|^2) / (|mu_p|^2 + |mu_s|^2 + |sd_p|^2 + |sd_s|^2)
    """
    if styles.shape != pictures.shape:
        styles = functional.interpolate(styles, pictures.shape[-2:], mode="bicubic", antialias=True).clamp(-1, 1)
    found, wanted = (_statistics(encode_latents(pipeline.vae, images)) for images in (pictures, styles))
    size = found.square().sum(dim=1) + wanted.square().sum(dim=1)
    return 1 - (found - wanted).square().sum(dim=1) / size


def _statistics(latents: Tensor) -> Tensor:
    """Means and deviations over places: (B, C, h, w) -> float32 (B, 2 C)."""
    places = latents.float().flatten(2)
    return torch.cat([places.mean(dim=2), places.std(dim=2, correction=0)], dim=1)
