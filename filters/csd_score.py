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
from filters.csd_network import CsdOutput
from filters.csd_weights import load_csd
from filters.matrix import Floats, image_list, matrix_cosines, unit_batches


class CsdScore:
    """Callable on units; holds the network on its device."""

    def __init__(self, model: str, *, device: str, dtype: Dtype, batch: int) -> None:
        self.device, self.dtype, self.batch = torch.device(device), getattr(torch, dtype), batch
        self.network = load_csd(Path(model)).to(self.device, self.dtype)
        # short side to the model's size bicubic, centre crop, CLIP's mean and deviation
        self.preprocess = image_transform(
            self.network.arch.image_size,
            is_train=False,
            mean=OPENAI_DATASET_MEAN,
            std=OPENAI_DATASET_STD,
            resize_mode="shortest",
            interpolation="bicubic",
        )

    @torch.inference_mode()
    def __call__(self, units: Sequence[TripletImages]) -> ScoreColumns:
        """Columns of ``CsdScorer.columns``, (N,) float32 each."""
        parts = [self._score_batch(part) for part in unit_batches(units, self.batch)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    @torch.inference_mode()
    def style_vectors(self, images: Sequence[Image]) -> Floats:
        """(N, D) of length 1, as the scores compare them."""
        vectors: Floats = self._see(images).style.float().cpu().numpy()
        return vectors

    def _see(self, images: Sequence[Image]) -> CsdOutput:
        pixels = torch.stack([self.preprocess(image) for image in images])
        out: CsdOutput = self.network(pixels.to(self.device, self.dtype))
        return out

    def _score_batch(self, units: Sequence[TripletImages]) -> ScoreColumns:
        out = self._see(image_list(units))
        return {
            **matrix_cosines("csd.style", out.style.float().cpu().numpy()),
            **matrix_cosines("csd.content", out.content.float().cpu().numpy()),
        }
