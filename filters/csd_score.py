"""CSD over units: preprocessing as published, three images a unit, cosines of the score matrix."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from open_clip import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from open_clip.transform import image_transform

from curate.interfaces import ScoreColumns, TripletImages
from filters.base import Dtype
from filters.csd_weights import load_csd
from filters.matrix import image_list, matrix_cosines, unit_batches


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

    def _score_batch(self, units: Sequence[TripletImages]) -> ScoreColumns:
        pixels = torch.stack([self.preprocess(image) for image in image_list(units)])
        out = self.network(pixels.to(self.device, self.dtype))
        return {
            **matrix_cosines("csd.style", out.style.float().cpu().numpy()),
            **matrix_cosines("csd.content", out.content.float().cpu().numpy()),
        }
