"""CLIP-I and CLIP-T through open_clip, loaded as the CLIP scorer loads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL.Image import Image

from curate.bench.features import Features, to_references
from curate.bench.items import Floats
from curate.bench.metrics import Sample
from curate.models import resolve_model
from filters.clip_score import load_clip

if TYPE_CHECKING:
    from curate.bench.metrics import ClipMetric


class ClipMeasure:
    """Callable on samples; holds the model."""

    def __init__(self, config: ClipMetric, device: str) -> None:
        self.device, self.dtype, self.batch = torch.device(device), getattr(torch, config.dtype), config.batch
        self.network, self.preprocess, self.tokenize = load_clip(
            resolve_model(config.model), device=device, dtype=config.dtype, revision=config.revision)
        self.images = Features(self._embed, batch=config.batch)

    def __call__(self, samples: Sequence[Sample]) -> Mapping[str, Floats]:
        """``clip_i`` (N,) and ``clip_t`` (N,), NaN where an item has no content image or an empty prompt."""
        vectors = self.images.of_outputs(samples)
        texts = self._texts([sample.item.prompt for sample in samples])
        agreement = np.einsum("nd,nd->n", vectors, texts)
        told = np.array([bool(sample.item.prompt) for sample in samples])
        return {"clip_i": to_references(vectors, samples, self.images),
                "clip_t": np.where(told, agreement, np.nan).astype(np.float32)}

    @torch.inference_mode()
    def _embed(self, images: Sequence[Image]) -> Floats:
        pixels = torch.stack([self.preprocess(image) for image in images]).to(self.device, self.dtype)
        vectors: Floats = self.network.encode_image(pixels, normalize=True).float().cpu().numpy()
        return vectors

    @torch.inference_mode()
    def _texts(self, prompts: Sequence[str]) -> Floats:
        """(N, D) unit vectors; equal prompts are encoded once."""
        different = sorted(set(prompts))
        batches = [different[at : at + self.batch] for at in range(0, len(different), self.batch)]
        parts = [self.network.encode_text(self.tokenize(batch).to(self.device), normalize=True) for batch in batches]
        vectors: Floats = torch.cat(parts).float().cpu().numpy()
        return vectors[[different.index(prompt) for prompt in prompts]]
