"""What the frozen encoders make of a batch, before dropout: the part of a training step that can be kept on disk."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from pipelines.data import Batch
from pipelines.uso.encoders import encode_latents, encode_prompts, vision_states
from pipelines.uso.pipeline import UsoPipeline

CPU_PARTS = 8
Kind = Literal["target", "content", "style", "text"]
Features: TypeAlias = dict[Kind, tuple[Tensor, ...]]
"""Of B samples, whatever is dropped later:

target, content  scaled latents (B, C, h, w)
style            the vision states that the projector reads, each (B, tokens, dim); what a frozen projector makes of
                 them, (B, n, hidden); with a shared VAE encoder latents
text             text states (B, T, joint_dim) and pooled (B, pooled_dim)
"""


class Encoders:
    """Batch -> Features, without gradient, each encoder in its own precision (no autocast).

    So features depend on samples and frozen weights alone, and what a cache keeps is what would be computed again. A
    projector that does not learn is one of them (`projects`); which learns is settled before.
    """

    def __init__(self, pipeline: UsoPipeline, *, with_content: bool, with_style: bool = True) -> None:
        self.pipeline = pipeline
        absent = {"content": not with_content, "style": not with_style}
        projector = pipeline.projector
        self.projects = projector is not None and not any(each.requires_grad for each in projector.parameters())
        self.kinds: tuple[Kind, ...] = tuple(kind for kind in get_args(Kind) if not absent.get(kind, False))
        self._blank: tuple[Tensor, ...] | None = None

    @torch.no_grad()
    def __call__(self, batch: Batch, kinds: Container[Kind] | None = None) -> Features:
        """Of all samples of the batch, whose tensors are on the encoders' device; all kinds, or those asked for."""
        with torch.autocast(batch.target.device.type, enabled=False):
            return {kind: self._encode(kind, batch) for kind in self.kinds if kinds is None or kind in kinds}

    @torch.no_grad()
    def blank(self) -> tuple[Tensor, ...]:
        """Text features of the empty prompt, (1, ...), computed once."""
        if self._blank is None:
            with torch.autocast(self.pipeline.vae.device.type, enabled=False):
                self._blank = self._text([""])
        return self._blank

    def _encode(self, kind: Kind, batch: Batch) -> tuple[Tensor, ...]:
        pipeline = self.pipeline
        if kind == "text":
            return self._text(batch.captions)
        if kind == "target":
            return (self._latents(batch.target),)
        if kind == "content":
            assert batch.content is not None
            return (self._latents(batch.content),)
        assert batch.style is not None
        if pipeline.config.style_encoding == "vae":
            return (self._latents(batch.style),)
        pixels = pipeline.vision_processor(images=(batch.style.float() + 1) / 2, do_rescale=False)
        values = torch.stack(list(pixels.pixel_values)).to(batch.style.device)
        states = pipeline.projector.pick(vision_states(pipeline.vision_encoder, values))
        if not self.projects:
            return tuple(states)
        return (pipeline.projector([state.to(pipeline.projector.dtype) for state in states]),)

    def _latents(self, images: Tensor) -> Tensor:
        """On a CPU in small parts, whose activations stay in its caches: a fifth faster at 64 px than 32 at once."""
        parts = images.split(CPU_PARTS) if images.device.type == "cpu" else [images]  # type: ignore[no-untyped-call]
        return torch.cat([encode_latents(self.pipeline.vae, part) for part in parts])

    def _text(self, prompts: Sequence[str]) -> tuple[Tensor, ...]:
        pipeline = self.pipeline
        return encode_prompts(
            prompts,
            clip=pipeline.text_encoder,
            clip_tokenizer=pipeline.tokenizer,
            t5=pipeline.text_encoder_2,
            t5_tokenizer=pipeline.tokenizer_2,
            max_tokens=pipeline.config.max_text_tokens,
        )


def row(features: Features, place: int) -> Features:
    """One sample's features, without the batch dimension."""
    return {kind: tuple(value[place] for value in values) for kind, values in features.items()}


def stack(rows: Sequence[Features]) -> Features:
    """Inverse of `row` over all places."""
    return {
        kind: tuple(torch.stack(values) for values in zip(*(each[kind] for each in rows), strict=True))
        for kind in rows[0]
    }


def moved(features: Features, device: torch.device) -> Features:
    """The same on a device."""
    return {kind: tuple(value.to(device) for value in values) for kind, values in features.items()}
