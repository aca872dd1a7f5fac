"""CSD over units: preprocessing as published, three images a unit, cosines of the score matrix."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from open_clip import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from open_clip.transform import image_transform
from PIL.Image import Image

from curate.interfaces import ScoreColumns, TripletImages
from filters.base import Dtype
from filters.csd_weights import load_csd
from filters.csls import CslsConfig, read_bank
from filters.matrix import Floats, image_list, matrix_cosines, unit_batches


class CsdScore:
    """Callable on units; holds the network on its device."""

    def __init__(self, model: Path, *, device: str, dtype: Dtype, batch: int, csls: CslsConfig | None = None) -> None:
        self.device, self.dtype, self.batch = torch.device(device), getattr(torch, dtype), batch
        self.network = load_csd(model).to(self.device, self.dtype)
        # short side to the model's size bicubic, centre crop, CLIP's mean and deviation
        self.preprocess = image_transform(
            self.network.arch.image_size,
            is_train=False,
            mean=OPENAI_DATASET_MEAN,
            std=OPENAI_DATASET_STD,
            resize_mode="shortest",
            interpolation="bicubic",
        )
        self.bank = None if csls is None else read_bank(csls, width=self.network.arch.head_dim, embed=self._styles)

    def __call__(self, units: Sequence[TripletImages]) -> ScoreColumns:
        """Columns of ``CsdScorer.columns``, (N,) float32 each."""
        parts = [self._score_batch(part) for part in unit_batches(units, self.batch)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def style_vectors(self, images: Sequence[Image]) -> Floats:
        """(N, D) of length 1, as the scores compare them."""
        return self.embed(images)[0]

    def _score_batch(self, units: Sequence[TripletImages]) -> ScoreColumns:
        style, content = self.embed(image_list(units))
        return {
            **matrix_cosines("csd.style", style),
            **matrix_cosines("csd.content", content),
            **(self.bank.matrix("csd.csls", style) if self.bank else {}),
        }

    @torch.inference_mode()
    def embed(self, images: Sequence[Image]) -> tuple[Floats, Floats]:
        """Style and content vectors (N, head_dim) of unit length, in one pass."""
        pixels = torch.stack([self.preprocess(image) for image in images])
        out = self.network(pixels.to(self.device, self.dtype))
        return out.style.float().cpu().numpy(), out.content.float().cpu().numpy()

    def _styles(self, images: Sequence[Image]) -> Floats:
        parts = [self.embed(images[at : at + self.batch])[0] for at in range(0, len(images), self.batch)]
        return np.concatenate(parts)
