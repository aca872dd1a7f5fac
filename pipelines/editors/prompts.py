"""Prompt templates, and prompts that are encoded once however often they come."""

from __future__ import annotations

import inspect
import string
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from curate.interfaces import ExpertRequest

PromptKey = Literal["stylize", "stylize_shifted", "stylize_words", "destylize", "destylize_shifted"]
KEPT = 256
"""Distinct prompts whose embeddings are remembered, in main memory: 8 MB each for FLUX.2 klein in bfloat16."""


def check_templates(templates: Mapping[PromptKey, str]) -> None:
    """ValueError for a template with a field other than ``{prompt}``."""
    for key, template in templates.items():
        fields = {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}
        if fields - {"prompt"}:
            raise ValueError(f"prompts.{key}: the only field is {{prompt}}, not {{{min(fields - {'prompt'})}}}")


def prompt_of(request: ExpertRequest, templates: Mapping[PromptKey, str], unnamed: str) -> str:
    """The template of the request's verb, images and layout around its prompt (``unnamed`` where it has none).

    To stylize without a style image, as a bench's subject items ask, has no template: the prompt stays as it is.
    """
    words = request.prompt or unnamed
    template = next((templates[key] for key in _keys(request) if key in templates), None)
    return words if template is None else template.format(prompt=words)


def _keys(request: ExpertRequest) -> list[PromptKey]:
    """Templates that may serve, the most special first."""
    if request.verb == "stylize" and request.style is None:
        return []  # templates are worded for a style image
    if request.verb == "stylize" and request.content is None:
        return ["stylize_words", "stylize"]
    if request.layout == "preserved":
        return [request.verb]
    return ["destylize_shifted", "destylize"] if request.verb == "destylize" else ["stylize_shifted", "stylize"]


class PromptEncoder:
    """``encode_prompt`` of a pipeline with a memory. A prompt is always encoded alone, so mates do not change it.

    ``outputs`` names, in order, the call's arguments that take what ``encode_prompt`` gives; None passes one over.
    ``constants`` are the call's constant arguments; those that ``encode_prompt`` knows are handed on.
    """

    def __init__(self, pipeline: Any, outputs: Sequence[str | None], constants: Mapping[str, Any]) -> None:
        known = inspect.signature(pipeline.encode_prompt).parameters
        self.pipeline, self.outputs = pipeline, outputs
        self.constants = {name: value for name, value in constants.items() if name in known}
        self._encode = lru_cache(maxsize=KEPT)(self._encode_one)

    @property
    def replaced(self) -> set[str]:
        """Arguments of the call that its embeddings stand for."""
        return {"prompt", *(name.removesuffix("_embeds") for name in self.outputs if name)}

    def __call__(self, prompts: Sequence[str]) -> dict[str, Any]:
        """Argument -> embeddings (B, ...)."""
        import torch

        found = [self._encode(prompt) for prompt in prompts]
        return {name: torch.cat(parts).to(self.pipeline._execution_device)
                for name in found[0] if (parts := [each[name] for each in found])}

    def _encode_one(self, prompt: str) -> dict[str, Any]:
        import torch

        with torch.no_grad():
            encoded = self.pipeline.encode_prompt(prompt=prompt, **self.constants)
        return {name: value.cpu() for name, value in zip(self.outputs, encoded, strict=False)
                if name and value is not None}
