"""The CSD network: an OpenAI-layout ViT without its projection, and two bare projection matrices.

    feature = ln_post(CLS)            (B, width)
    style   = L2(feature @ S)         S = ``last_layer_style``    (width, head_dim)
    content = L2(feature @ C)         C = ``last_layer_content``  (width, head_dim)

Source: learn2phoenix/CSD@3a9df32 (model.py). The published model is ViT-L/14 with QuickGELU: width 1024,
head_dim 768. The content head exists for training, where it works against the features through a reversed
gradient.

The zoo's small model has a `Palette` beside its ViT: style = [sqrt(1 - w) L2(feature @ S), sqrt(w) L2(palette(image))],
so that a similarity is a weighted mean of two cosines. The weight w = sigmoid(g . L2(feature @ S) + b) is each image's
own: by what the ViT sees, exact colours tell much of a drawing's style or little.
"""

from __future__ import annotations

from functools import partial
from typing import Literal, NamedTuple

import torch
from open_clip import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from open_clip.transformer import QuickGELU, VisionTransformer
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from curate.config import StrictModel
from filters.palette import Palette

LEAST_WEIGHT = 1e-4
"""Of either part of the style vector: a square root has no finite slope at 0."""


class CsdArch(StrictModel):
    """Shape of a CSD network; the fields of the ViT mean what they mean in open_clip's ``vision_cfg``.

    ``pool_type``: "tok" is the class token (the published model), "avg" the mean of the patches, which a
    small ViT trained from nothing learns faster. ``palette_dim`` is the length of the palette's part of the
    style vector, 0 for none (the published model).
    """

    image_size: int = Field(ge=8)
    patch_size: int = Field(ge=1)
    width: int = Field(ge=8)
    layers: int = Field(ge=1)
    head_width: int = 64
    mlp_ratio: float = 4.0
    pool_type: Literal["tok", "avg"] = "tok"
    quick_gelu: bool = True
    head_dim: int = Field(default=768, ge=1)
    palette_dim: int = Field(default=0, ge=0)


OFFICIAL_ARCH = CsdArch(image_size=224, patch_size=14, width=1024, layers=24)
"""ViT-L/14 of OpenAI, the only published size."""


class CsdOutput(NamedTuple):
    """``feature`` (B, width); ``style`` (B, head_dim + palette_dim) and ``content`` (B, head_dim), unit length."""

    feature: Tensor
    style: Tensor
    content: Tensor


class CsdNetwork(nn.Module):
    """Images (B, 3, S, S), normalised as CLIP's are, to style and content vectors."""

    def __init__(self, arch: CsdArch) -> None:
        super().__init__()
        self.arch = arch
        self.backbone = VisionTransformer(
            image_size=arch.image_size,
            patch_size=arch.patch_size,
            width=arch.width,
            layers=arch.layers,
            heads=arch.width // arch.head_width,
            mlp_ratio=arch.mlp_ratio,
            pool_type=arch.pool_type,
            output_dim=arch.head_dim,
            act_layer=QuickGELU if arch.quick_gelu else nn.GELU,
        )
        self.backbone.proj = None
        self.palette = Palette(arch.palette_dim) if arch.palette_dim else None
        self.weighing = nn.Linear(arch.head_dim, 1) if arch.palette_dim else None
        if self.weighing is not None:  # both weigh alike
            nn.init.zeros_(self.weighing.weight)
            nn.init.zeros_(self.weighing.bias)
        scale = arch.width**-0.5
        self.last_layer_style = nn.Parameter(scale * torch.randn(arch.width, arch.head_dim))
        self.last_layer_content = nn.Parameter(scale * torch.randn(arch.width, arch.head_dim))

    def forward(self, images: Tensor, *, reversal: float | None = None) -> CsdOutput:
        """``reversal`` alpha: the content head's gradient reaches the backbone times -alpha."""
        feature = self.backbone(images)
        for_content = feature if reversal is None else reverse_gradient(feature, reversal)
        unit = partial(functional.normalize, dim=1)
        style = unit(feature @ self.last_layer_style)
        if self.palette is not None and self.weighing is not None:
            palette = unit(self.palette(as_drawn(images))).to(style.dtype)
            weight = self.weighing(style).sigmoid().clamp(LEAST_WEIGHT, 1 - LEAST_WEIGHT)
            style = torch.cat([style * (1 - weight).sqrt(), palette * weight.sqrt()], dim=1)
        return CsdOutput(feature, style, unit(for_content @ self.last_layer_content))


def as_drawn(images: Tensor) -> Tensor:
    """CLIP's normalisation undone, in float32: [0, 1]."""
    mean, std = (
        torch.tensor(values, device=images.device).view(1, 3, 1, 1)
        for values in (OPENAI_DATASET_MEAN, OPENAI_DATASET_STD)
    )
    return images.float() * std + mean


class _ReverseGradient(torch.autograd.Function):
    """Identity forwards, times -alpha backwards (Ganin and Lempitsky, arXiv 1409.7495, section 3.1)."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor, alpha: float) -> Tensor:
        ctx.alpha = alpha  # type: ignore[attr-defined]
        return x.view_as(x)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *grads: Tensor) -> tuple[Tensor, None]:
        return -ctx.alpha * grads[0], None  # type: ignore[attr-defined]


def reverse_gradient(x: Tensor, alpha: float) -> Tensor:
    """``x`` itself, with its gradient multiplied by ``-alpha`` on the way back."""
    reversed_x: Tensor = _ReverseGradient.apply(x, alpha)
    return reversed_x
