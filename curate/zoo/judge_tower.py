"""The compact judge's eyes: a small convolutional network of timm that learns style and subject at once.

A ViT of the same cost had learnt styles but no subjects (loss 4.6 of 4.8) when a convolutional network was at
2.7: shapes need the locality that a ViT has to find out first.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import TimmWrapperConfig, TimmWrapperModel


class TowerArch(NamedTuple):
    """A timm architecture without its classifier: ``channels`` of its stages, width of the two heads."""

    architecture: str = "resnet10t"
    channels: tuple[int, ...] = (32, 64, 128, 256)
    image_size: int = 64
    stride: int = 32
    head_dim: int = 64

    @property
    def width(self) -> int:
        """Channels of the last stage."""
        return self.channels[-1]

    @property
    def num_patches(self) -> int:
        """Places of the last feature map: what the language model sees as tokens."""
        return (self.image_size // self.stride) ** 2

    def vision_config(self) -> Any:
        """The tower as transformers' timm wrapper describes it."""
        return TimmWrapperConfig(
            architecture=self.architecture,
            model_args={"channels": list(self.channels)},
            hidden_size=self.width,
            num_labels=0,
        )


class JudgeTower(nn.Module):
    """Images (B, 3, S, S), normalised as CLIP's are, to unit style and subject vectors (B, head_dim)."""

    def __init__(self, arch: TowerArch) -> None:
        super().__init__()
        self.arch = arch
        self.backbone = TimmWrapperModel(arch.vision_config())
        scale = arch.width**-0.5
        self.style_head = nn.Parameter(scale * torch.randn(arch.width, arch.head_dim))
        self.subject_head = nn.Parameter(scale * torch.randn(arch.width, arch.head_dim))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Style, then subject, each from the mean over the feature map."""
        feature = patches(self.backbone, images).mean(dim=1)
        return (
            functional.normalize(feature @ self.style_head, dim=1),
            functional.normalize(feature @ self.subject_head, dim=1),
        )


def patches(backbone: Any, images: Tensor) -> Tensor:
    """The last feature map as tokens, (B, places, width): what FastVLM gives its projector."""
    tokens: Tensor = backbone(images, do_pooling=False).last_hidden_state.flatten(2).permute(0, 2, 1)
    return tokens
