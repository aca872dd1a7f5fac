"""Vision transformers of transformers as feature extractors: DINO, DINOv2, DINOv3; class token and patch tokens.

Preprocessing: short side ``resize_px`` bicubic, centre crop ``crop_px``, ImageNet mean and deviation; with 256 and 224
it is facebookresearch/dino's own evaluation transform (eval_knn.py), which DINOv2 kept.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final, Literal

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor
from torch.nn import functional
from torchvision.transforms import v2
from transformers import AutoConfig, AutoModel, ViTModel

from curate.errors import ModelError
from curate.pretrained import load_whole
from filters.base import Dtype
from filters.matrix import Floats

Family = Literal["dino", "dinov2", "dinov3"]
IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
IMAGENET_STD: Final = (0.229, 0.224, 0.225)
TYPES: Final[dict[Family, tuple[str, ...]]] = {
    "dino": ("vit",), "dinov2": ("dinov2", "dinov2_with_registers"), "dinov3": ("dinov3_vit",),
}
"""Family -> transformers' names of its model classes."""


class VisionTower:
    """A network, its preprocessing, and vectors of images in batches of ``batch``."""

    def __init__(self, model: str, *, family: Family, device: str, dtype: Dtype, batch: int, resize_px: int,
                 crop_px: int, revision: str | None = None, pickles: Collection[str] = ()) -> None:
        self.device, self.dtype, self.batch = torch.device(device), getattr(torch, dtype), batch
        network = load_vit(model, family=family, crop_px=crop_px, revision=revision, pickles=pickles)
        self.network = network.to(self.device, self.dtype)
        self.registers = int(getattr(self.network.config, "num_register_tokens", 0))
        self.preprocess = v2.Compose([
            v2.Resize(resize_px, interpolation=v2.InterpolationMode.BICUBIC),
            v2.CenterCrop(crop_px),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ])

    @torch.inference_mode()
    def tokens(self, images: Sequence[Image]) -> Tensor:
        """(N, 1 + registers + patches, width) float32 after the last layer norm; the class token is the first."""
        pixels = torch.stack([self.preprocess(image) for image in images]).to(self.device, self.dtype)
        found: Tensor = self.network(pixel_values=pixels).last_hidden_state.float()
        return found

    def class_tokens(self, images: Sequence[Image]) -> Floats:
        """(N, width), unit length."""
        parts = [functional.normalize(self.tokens(images[at : at + self.batch])[:, 0], dim=1).cpu().numpy()
                 for at in range(0, len(images), self.batch)]
        return np.concatenate(parts)

    def patches(self, images: Sequence[Image]) -> Floats:
        """(N, patches, width)."""
        parts = [self.tokens(images[at : at + self.batch])[:, 1 + self.registers :].cpu().numpy()
                 for at in range(0, len(images), self.batch)]
        return np.concatenate(parts)


def load_vit(model: str, *, family: Family, crop_px: int, revision: str | None = None,
             pickles: Collection[str] = ()) -> Any:
    """The network for inference. ModelError where it cannot be loaded, lacks tensors, or is of another kind or size."""
    try:
        config = AutoConfig.from_pretrained(model, revision=revision, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise ModelError(f"{model}: cannot be loaded by transformers: {error}") from error
    if config.model_type not in TYPES[family]:
        raise ModelError(f"{model}: is a {config.model_type!r} model; {family} needs {TYPES[family][0]!r}")
    if family == "dino" and config.image_size != crop_px:
        raise ModelError(f"{model}: takes {config.image_size} px; set crop_px to that (and resize_px above it)")
    if crop_px % config.patch_size:
        raise ModelError(f"{model}: has patches of {config.patch_size} px; set crop_px to a multiple of that")
    if family == "dino":  # the pooler is no part of DINO's weights
        return load_whole(ViTModel, model, revision=revision, pickles=pickles, add_pooling_layer=False)
    return load_whole(AutoModel, model, revision=revision, pickles=pickles)
