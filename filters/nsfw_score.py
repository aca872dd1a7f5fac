"""Probability of some labels by an image classifier of transformers, three images a unit."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import torch
from transformers import AutoImageProcessor, AutoModelForImageClassification

from curate.errors import ModelError
from curate.interfaces import ScoreColumns, TripletImages
from curate.pretrained import load_whole
from filters.base import Dtype
from filters.matrix import by_role, image_list, unit_batches


class NsfwScore:
    """Callable on units; holds processor and classifier."""

    def __init__(self, model: str, *, device: str, dtype: Dtype, batch: int, unsafe: Sequence[str],
                 revision: str | None, pickles: Collection[str] = ()) -> None:
        self.device, self.dtype, self.batch = torch.device(device), getattr(torch, dtype), batch
        network = load_whole(AutoModelForImageClassification, model, revision=revision, pickles=pickles,
                             dtype=self.dtype)
        try:
            self.processor = AutoImageProcessor.from_pretrained(model, revision=revision, trust_remote_code=False)
        except (OSError, ValueError) as error:
            raise ModelError(f"nsfw {model}: no image processor: {error}") from error
        labels = {str(label): int(place) for place, label in network.config.id2label.items()}
        if strange := sorted(set(unsafe) - set(labels)):
            raise ModelError(f"nsfw {model}: unsafe: it has no label {strange}; there are {sorted(labels)}")
        self.places = [labels[label] for label in unsafe]
        self.network = network.to(self.device)

    @torch.inference_mode()
    def __call__(self, units: Sequence[TripletImages]) -> ScoreColumns:
        """Columns of ``NsfwScorer.columns``, (N,) float32 each."""
        parts = []
        for part in unit_batches(units, self.batch):
            inputs = self.processor(images=image_list(part), return_tensors="pt").to(self.device, self.dtype)
            chances = self.network(**inputs).logits.float().softmax(dim=1)
            parts.append(chances[:, self.places].sum(dim=1).cpu().numpy())
        return {**by_role("nsfw", np.concatenate(parts))}
