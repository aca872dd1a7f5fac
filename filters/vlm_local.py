"""A judge loaded by transformers: any image-text-to-text model with a chat template that takes several images."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Collection, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor
from transformers import AutoModelForImageTextToText, AutoProcessor

from curate.errors import ModelError, UnitError
from curate.pretrained import load_whole
from filters.answers import Form
from filters.base import Dtype
from filters.judging import Chances, Talk, unusable

T = TypeVar("T")


class LocalJudge:
    """A processor, and a model that is where it works. See ``load_parts``."""

    def __init__(self, processor: Any, network: Any, *, min_mass: float, attempts: int, max_new_tokens: int) -> None:
        self.processor, self.network = processor, network
        self.min_mass, self.attempts, self.max_new_tokens = min_mass, attempts, max_new_tokens
        # right padding is invisible to a causal model: a question's numbers are those it has alone
        self.processor.tokenizer.padding_side = "right"
        self._keeps = "logits_to_keep" in inspect.signature(network.forward).parameters
        self._ids: dict[tuple[str, ...], list[list[int]]] = {}

    def choose(self, talks: Sequence[Talk], choices: Sequence[str]) -> list[Chances | UnitError]:
        """Probabilities of the choices at the answer's first position; all talks in one forward pass."""
        found: list[Chances | UnitError] = [(0.0,)] * len(talks)
        pending = dict(enumerate(talks))
        for attempt in range(1, self.attempts + 1):
            logits = self.answer_logits(list(pending.values()))
            chances, mass = choice_chances(logits, self._ids_of(choices, talks[0]))
            for i, row, m, best in zip(list(pending), chances.tolist(), mass.tolist(), logits.argmax(dim=1).tolist(),
                                       strict=True):
                if m >= self.min_mass:  # never where a logit is not finite
                    found[i] = tuple(row)
                    del pending[i]
                    continue
                said = self.processor.tokenizer.decode([best])
                why = f"{', '.join(choices)} have {m:.3f} of the answer's probability"
                found[i] = unusable(why, said, attempt)
                pending[i] = pending[i].then(said, f"Answer with one of {', '.join(choices)} and nothing else.")
            if not pending:
                break
        return found

    def say(self, talks: Sequence[Talk], form: Form[T]) -> list[T | UnitError]:
        """Written answers, greedy, one talk after the other."""
        found: list[T | UnitError] = []
        for talk in talks:
            answer = self._say_one(talk, form)
            found.append(answer)
        return found

    def _say_one(self, talk: Talk, form: Form[T]) -> T | UnitError:
        failure = UnitError("not asked")
        for attempt in range(1, self.attempts + 1):
            said = self.written_answer(talk)
            try:
                return form.read(said)
            except ValueError as error:
                failure = unusable(str(error), said, attempt)
                talk = talk.then(said, form.reminder)
        return failure

    @torch.inference_mode()
    def answer_logits(self, talks: Sequence[Talk]) -> Tensor:
        """(B, vocabulary) float32 logits of the first token of the answer."""
        inputs = self._inputs(talks)
        last = inputs["attention_mask"].sum(dim=1) - 1
        if not self._keeps:
            logits: Tensor = self.network(**inputs).logits  # (B, L, vocabulary)
            return logits[torch.arange(len(talks), device=logits.device), last].float()
        places, where = last.unique(return_inverse=True)  # a big model's logits of a whole prompt are gigabytes
        logits = self.network(**inputs, logits_to_keep=places).logits  # (B, places, vocabulary)
        return logits[torch.arange(len(talks), device=logits.device), where].float()

    @torch.inference_mode()
    def written_answer(self, talk: Talk) -> str:
        """Up to ``max_new_tokens``, without special tokens."""
        inputs = self._inputs([talk])
        written = self.network.generate(**inputs, max_new_tokens=self.max_new_tokens, do_sample=False,
                                        temperature=None, top_p=None, top_k=None)
        text: str = self.processor.tokenizer.decode(written[0, inputs["input_ids"].shape[1]:], skip_special_tokens=True)
        return text

    def _inputs(self, talks: Sequence[Talk]) -> Any:
        prompts = [chat_prompt(self.processor, talk.turns, images=len(talk.images)) for talk in talks]
        start = self.processor.tokenizer.bos_token
        again = {"add_special_tokens": False} if start and prompts[0].startswith(start) else {}  # the template wrote it
        return self.processor(text=prompts, images=[list(talk.images) for talk in talks], padding=True,
                              return_tensors="pt", **again).to(self.network.device, self.network.dtype)

    def _ids_of(self, choices: Sequence[str], talk: Talk) -> list[list[int]]:
        """Token ids of the choices; templates end alike, so any talk's prompt will do."""
        key = tuple(choices)
        if key not in self._ids:
            prompt = chat_prompt(self.processor, talk.turns, images=len(talk.images))
            self._ids[key] = choice_token_ids(self.processor.tokenizer, prompt, choices)
        return self._ids[key]


def load_parts(model: str, *, device: str, dtype: Dtype, revision: str | None, pickles: Collection[str],
               ) -> tuple[Any, Any]:
    """Processor and network of a path or hub id. ModelError where it is none of the kind, or lacks a tensor."""
    try:
        processor = AutoProcessor.from_pretrained(model, revision=revision, trust_remote_code=False)
    except (OSError, ValueError, ImportError) as error:
        raise ModelError(f"vlm {model}: {error}") from error
    network = load_whole(AutoModelForImageTextToText, model, revision=revision, pickles=pickles,
                         dtype=getattr(torch, dtype))
    return processor, network.to(device)


def chat_prompt(processor: Any, turns: Sequence[str], *, images: int) -> str:
    """The model's own chat template around images and a talk (asker, judge, asker ...), up to the next answer."""
    messages = []
    for turn, (role, words) in enumerate(zip(itertools.cycle(("user", "assistant")), turns)):
        seen = [{"type": "image"}] * images if turn == 0 else []
        messages.append({"role": role, "content": [*seen, {"type": "text", "text": words}]})
    prompt: str = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    return prompt


def choice_token_ids(tokenizer: Any, prompt: str, choices: Sequence[str]) -> list[list[int]]:
    """Ids of the tokens by which each choice may continue ``prompt``: bare, capitalised, after a space.

    ModelError unless every choice is a single token in at least one of these spellings, and none is two choices'.
    """
    start = list(tokenizer(prompt).input_ids)
    found: list[list[int]] = []
    for choice in choices:
        wholes = [list(tokenizer(prompt + spelling).input_ids) for spelling in dict.fromkeys(
            (choice, choice.capitalize(), f" {choice}", f" {choice.capitalize()}"))]
        ids = {whole[-1] for whole in wholes if whole[: len(start)] == start and len(whole) == len(start) + 1}
        if not ids:
            raise ModelError(f"the answer {choice!r} is not one token after the prompt: {wholes[0][len(start) - 1 :]}")
        found.append(sorted(ids))
    if len({i for ids in found for i in ids}) < sum(map(len, found)):
        raise ModelError(f"the answers {list(choices)} share tokens: {found}")
    return found


def choice_chances(logits: Tensor, ids: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Chances (B, choices) among the choices, and the mass (B,) of all of them, from logits (B, vocabulary)."""
    each = torch.stack([logits[:, list(spellings)].logsumexp(dim=1) for spellings in ids], dim=1)
    return each.softmax(dim=1), (each.logsumexp(dim=1) - logits.logsumexp(dim=1)).exp()
