"""Expected ratings from a transformers vision-language model."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor
from transformers import AutoModelForImageTextToText, AutoProcessor

from curate.errors import ModelError
from curate.interfaces import ScoreColumns, TripletImages
from filters.base import Dtype
from filters.vlm import QUESTIONS

RATINGS = "01234"
log = logging.getLogger(__name__)


class VlmScore:
    """Callable on units; holds processor and model."""

    def __init__(
        self,
        model: str,
        *,
        device: str,
        dtype: Dtype,
        questions: Mapping[str, str],
        min_mass: float,
        revision: str | None = None,
    ) -> None:
        self.device, self.dtype, self.min_mass = torch.device(device), getattr(torch, dtype), min_mass
        try:
            self.processor = AutoProcessor.from_pretrained(model, revision=revision)
            network = AutoModelForImageTextToText.from_pretrained(model, revision=revision, dtype=self.dtype)
        except (OSError, ValueError) as error:
            raise ModelError(f"vlm {model}: {error}") from error
        self.network = network.to(self.device).eval()
        # right padding is invisible to a causal model: a question's numbers are those it has alone
        self.processor.tokenizer.padding_side = "right"
        self.prompts = {name: chat_prompt(self.processor, question) for name, question in questions.items()}
        self.rating_ids = rating_token_ids(self.processor.tokenizer, next(iter(self.prompts.values())))

    @torch.inference_mode()
    def __call__(self, units: Sequence[TripletImages]) -> ScoreColumns:
        """Columns of ``QUESTIONS``, (N,) float32 each; NaN where the model did not answer with a rating."""
        rows = np.array([self._score_unit(unit) for unit in units], dtype=np.float32)
        return {column: rows[:, i] for i, column in enumerate(QUESTIONS)}

    def _score_unit(self, unit: TripletImages) -> list[float]:
        prompts = [self.prompts[question] for question, _ in QUESTIONS.values()]
        pairs = [[getattr(unit, role), unit.stylized] for _, role in QUESTIONS.values()]
        ratings, mass = expected_rating(self.answer_logits(prompts, pairs), self.rating_ids)
        usable = (
            torch.isfinite(ratings) & (ratings >= 0) & (ratings <= len(RATINGS) - 1) & (mass >= self.min_mass)
        )
        for column, ok, m in zip(QUESTIONS, usable.tolist(), mass.tolist(), strict=True):
            if not ok:
                log.warning("%s is NaN: the ratings 0-4 have %.3f of the answer's probability", column, m)
        return torch.where(usable, ratings, torch.nan).tolist()

    def answer_logits(self, prompts: Sequence[str], pairs: Sequence[Sequence[Image]]) -> Tensor:
        """(B, vocabulary) float32 logits of the first token of the answer."""
        inputs: Any = self.processor(
            text=list(prompts), images=[list(pair) for pair in pairs], padding=True, return_tensors="pt"
        ).to(self.device, self.dtype)
        logits: Tensor = self.network(**inputs).logits  # (B, L, vocabulary)
        last = inputs["attention_mask"].sum(dim=1) - 1
        return logits[torch.arange(len(prompts), device=logits.device), last].float()


def chat_prompt(processor: Any, question: str) -> str:
    """The model's own chat template around two images and a question, ending where the answer begins."""
    content = [{"type": "image"}, {"type": "image"}, {"type": "text", "text": question}]
    prompt: str = processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
    )
    return prompt


def rating_token_ids(tokenizer: Any, prompt: str) -> list[int]:
    """Token ids of "0".."4" as the continuation of ``prompt``; each must be one token."""
    start = tokenizer(prompt).input_ids
    ids = []
    for rating in RATINGS:
        whole = tokenizer(prompt + rating).input_ids
        if whole[: len(start)] != start or len(whole) != len(start) + 1:
            raise ModelError(
                f"the rating {rating!r} is not one token after the prompt: {whole[len(start) - 1 :]}"
            )
        ids.append(whole[-1])
    return ids


def expected_rating(logits: Tensor, rating_ids: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Expected rating (B,) in [0, 4] and mass (B,) of the five ratings, from logits (B, vocabulary)."""
    among = logits[:, list(rating_ids)].softmax(dim=1)  # (B, 5)
    values = torch.arange(len(rating_ids), device=logits.device, dtype=logits.dtype)
    mass = logits.softmax(dim=1)[:, list(rating_ids)].sum(dim=1)
    return among @ values, mass
