"""LAION's aesthetic head over CLIP image vectors: five linear layers with nothing between them at inference."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from curate.errors import ModelError
from curate.interfaces import ScoreColumns, TripletImages
from filters.base import Dtype
from filters.clip_score import load_clip
from filters.matrix import by_role, image_list, unit_batches
from filters.weights import read_tensors

HIDDEN = (1024, 128, 64, 16, 1)
PLACES = (0, 2, 4, 6, 7)
"""Of the linear layers in the published ``layers``; dropouts stand between them."""


class AestheticScore:
    """Callable on units; holds CLIP and the head."""

    def __init__(self, model: str, head: Path, *, device: str, dtype: Dtype, batch: int, revision: str | None) -> None:
        self.device, self.dtype, self.batch = torch.device(device), getattr(torch, dtype), batch
        self.network, self.preprocess, _ = load_clip(model, device=device, dtype=dtype, revision=revision)
        self.head = load_head(head).to(self.device)

    def __call__(self, units: Sequence[TripletImages]) -> ScoreColumns:
        """Columns of ``AestheticScorer.columns``, (N,) float32 each."""
        ratings = [self._rate(part) for part in unit_batches(units, self.batch)]
        return {**by_role("aesthetic", np.concatenate(ratings))}

    @torch.inference_mode()
    def _rate(self, units: Sequence[TripletImages]) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
        pixels = torch.stack([self.preprocess(image) for image in image_list(units)]).to(self.device, self.dtype)
        vectors: Tensor = self.network.encode_image(pixels, normalize=True).float()
        if vectors.shape[1] != self.head[0].in_features:
            raise ModelError(f"aesthetic: CLIP gives vectors of {vectors.shape[1]}, the head takes "
                             f"{self.head[0].in_features}")
        return self.head(vectors)[:, 0].cpu().numpy()  # type: ignore[no-any-return]


def load_head(path: Path) -> nn.Sequential:
    """The head in float32; ModelError unless the file holds exactly its ten tensors."""
    state = read_tensors(path, what="an aesthetic head")
    names = [f"layers.{place}.{part}" for place in PLACES for part in ("weight", "bias")]
    if sorted(state) != sorted(names):
        raise ModelError(f"{path}: not an aesthetic head: it holds {sorted(state)[:4]}, not {names[0]} to {names[-1]}")
    widths = (state["layers.0.weight"].shape[-1], *HIDDEN)
    head = nn.Sequential(*(nn.Linear(a, b) for a, b in zip(widths, HIDDEN, strict=False)))
    try:
        head.load_state_dict(dict(zip(head.state_dict(), (state[name].float() for name in names), strict=True)))
    except RuntimeError as error:
        raise ModelError(f"{path}: not an aesthetic head: {error}") from error
    return head.eval().requires_grad_(False)
