"""DINO and DINOv2 through transformers: class token, cosine, as DreamBooth's and UNO's evaluations do.

Preprocessing: short side 256 bicubic, centre crop 224, ImageNet mean and deviation (facebookresearch/dino's own
evaluation transform, eval_knn.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import torch
from PIL.Image import Image
from torch import Tensor
from torch.nn import functional
from torchvision.transforms import v2
from transformers import AutoConfig, AutoModel, ViTModel

from curate.bench.features import Features, to_references
from curate.bench.items import Floats
from curate.bench.metrics import Sample
from curate.errors import ModelError
from curate.models import resolve_model

if TYPE_CHECKING:
    from curate.bench.metrics import VisionMetric

IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
IMAGENET_STD: Final = (0.229, 0.224, 0.225)
TYPES: Final = {"dino": ("vit",), "dinov2": ("dinov2", "dinov2_with_registers")}


class VisionTower:
    """A ViT of transformers and its preprocessing; ``kind`` is a key of ``TYPES``."""

    def __init__(self, config: VisionMetric, device: str, *, kind: str) -> None:
        self.device, self.dtype = torch.device(device), getattr(torch, config.dtype)
        network = load_vit(resolve_model(config.model), kind=kind, crop_px=config.crop_px)
        self.network = network.to(self.device, self.dtype)
        self.registers = int(getattr(self.network.config, "num_register_tokens", 0))
        self.preprocess = v2.Compose([
            v2.Resize(config.resize_px, interpolation=v2.InterpolationMode.BICUBIC),
            v2.CenterCrop(config.crop_px),
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

    def patches(self, images: Sequence[Image]) -> Floats:
        """(N, patches, width)."""
        found: Floats = self.tokens(images)[:, 1 + self.registers :].cpu().numpy()
        return found


def load_vit(model: str, *, kind: str, crop_px: int) -> Any:
    """The network for inference. ModelError where it cannot be loaded, or is of another kind or size."""
    try:
        config = AutoConfig.from_pretrained(model)
        if config.model_type not in TYPES[kind]:
            raise ModelError(f"{model}: is a {config.model_type!r} model; a {kind} metric needs {TYPES[kind][0]!r}")
        if kind == "dino" and config.image_size != crop_px:
            raise ModelError(f"{model}: takes {config.image_size} px; set crop_px to that (and resize_px above it)")
        # The pooler is no part of DINO's weights: with it transformers would fill one up at random.
        network = (ViTModel.from_pretrained(model, add_pooling_layer=False) if kind == "dino"
                   else AutoModel.from_pretrained(model))
    except (OSError, ValueError) as error:
        raise ModelError(f"{model}: cannot be loaded by transformers: {error}") from error
    return network.eval().requires_grad_(False)


class DinoMeasure:
    """Callable on samples; ``column`` is "dino" or "dinov2"."""

    def __init__(self, config: VisionMetric, device: str, *, column: str) -> None:
        self.column, self.tower = column, VisionTower(config, device, kind=column)
        self.images = Features(self._embed, batch=config.batch)

    def __call__(self, samples: Sequence[Sample]) -> Mapping[str, Floats]:
        """The column, (N,), NaN where an item has no content image."""
        return {self.column: to_references(self.images.of_outputs(samples), samples, self.images)}

    def _embed(self, images: Sequence[Image]) -> Floats:
        vectors: Floats = functional.normalize(self.tower.tokens(images)[:, 0], dim=1).cpu().numpy()
        return vectors
