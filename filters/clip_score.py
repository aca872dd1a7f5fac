"""CLIP over units through open_clip's own loader: three images and one caption a unit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from PIL.Image import Image
from torch import Tensor

from curate.errors import ModelError
from curate.interfaces import ScoreColumns, TripletImages
from filters.base import Dtype
from filters.matrix import Floats, image_list, matrix_cosines, row_products, unit_batches

PRECISIONS: dict[Dtype, str] = {"float32": "fp32", "bfloat16": "pure_bf16", "float16": "pure_fp16"}
"""open_clip's names; "pure" casts every weight, as torch's ``module.to(dtype)`` does."""


class ClipScore:
    """Callable on units; holds the model on its device."""

    def __init__(
        self,
        model: str,
        *,
        device: str,
        dtype: Dtype,
        batch: int,
        prompt: str = "{}",
        revision: str | None = None,
    ) -> None:
        self.device, self.dtype, self.batch, self.prompt = (
            torch.device(device),
            getattr(torch, dtype),
            batch,
            prompt,
        )
        self.network, self.preprocess, self.tokenize = load_clip(
            model, device=device, dtype=dtype, revision=revision
        )

    @torch.inference_mode()
    def __call__(self, units: Sequence[TripletImages]) -> ScoreColumns:
        """Columns of ``ClipScorer.columns``, (N,) float32 each."""
        parts = [self._score_batch(part) for part in unit_batches(units, self.batch)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    @torch.inference_mode()
    def image_vectors(self, images: Sequence[Image]) -> Floats:
        """(N, D) of length 1, as the scores compare them."""
        pixels = torch.stack([self.preprocess(image) for image in images])
        return self._numbers(self.network.encode_image(pixels.to(self.device, self.dtype), normalize=True))

    def _score_batch(self, units: Sequence[TripletImages]) -> ScoreColumns:
        tokens = self.tokenize([self.prompt.format(unit.caption) for unit in units]).to(self.device)
        images = self.image_vectors(image_list(units))
        texts = self._numbers(self.network.encode_text(tokens, normalize=True))
        return {
            **matrix_cosines("clip.image", images),
            "clip.text.stylized": row_products(images[2::3], texts),
            "clip.text.content": row_products(images[0::3], texts),
        }

    def _numbers(self, vectors: Tensor) -> Floats:
        numbers: Floats = vectors.float().cpu().numpy()
        return numbers


def load_clip(
    model: str,
    *,
    device: str,
    dtype: Dtype = "float32",
    revision: str | None = None,
) -> tuple[Any, Callable[[Image], Tensor], Callable[[list[str]], Tensor]]:
    """Model, preprocessing and tokenizer; weights that cannot be loaded are an error, never random."""
    if revision is not None:
        raise ModelError(
            f"clip {model}: open_clip cannot pin a revision; download the repository and give its path"
        )
    name, pretrained = split_name(model)
    try:
        network, preprocess = open_clip.create_model_from_pretrained(
            name,
            pretrained=pretrained,
            precision=PRECISIONS[dtype],
            device=device,
            force_quick_gelu=trained_with_quick_gelu(name, pretrained),
        )
        tokenize = open_clip.get_tokenizer(name)
    except (RuntimeError, ValueError, OSError) as error:
        raise ModelError(f"clip {model}: {error}") from error
    return network.eval(), preprocess, tokenize


def trained_with_quick_gelu(name: str, pretrained: str | None) -> bool:
    """Whether the weights behind a tag want QuickGELU: open_clip only warns where the model's own config disagrees,
    and "ViT-L-14/openai" would give numbers of another network.
    """
    if pretrained is None:
        return False
    wanted = bool(open_clip.get_pretrained_cfg(name, pretrained).get("quick_gelu", False))
    if not wanted and (open_clip.get_model_config(name) or {}).get("quick_gelu", False):
        raise ModelError(f"clip {name}/{pretrained}: weights without QuickGELU; take the model without -quickgelu")
    return wanted


def split_name(model: str) -> tuple[str, str | None]:
    """open_clip's (model name, pretrained tag): a folder becomes ``local-dir:``, ``NAME/TAG`` is split at the
    slash.
    """
    if Path(model).is_dir():
        return f"local-dir:{model}", None
    if model.startswith(("hf-hub:", "local-dir:")):
        return model, None
    name, slash, tag = model.partition("/")
    if not slash or not tag:
        raise ModelError(f"clip {model}: not a folder, and not NAME/PRETRAINED such as ViT-L-14/openai")
    return name, tag
