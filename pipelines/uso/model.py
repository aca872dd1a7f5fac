"""The USO denoiser: FLUX's transformer with style tokens before the text and content tokens after the target.

    [style, text | target, content]        text stream | image stream        (USO, arXiv 2508.18966, section 3.3)

diffusers' `FluxTransformer2DModel` runs unchanged; its own `forward` has no place for tokens that are already as wide
as the transformer, so `denoise` calls its parts in the same order (diffusers 0.42, transformer_flux.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import FluxTransformer2DModel
from torch import Tensor, nn

from pipelines.uso.projector import StyleProjector
from pipelines.uso.tokens import PATCH, Positions, image_ids, pack, unpack


@dataclass(frozen=True)
class Conditions:
    """What B images are made from.

    text            (B, T, joint_dim), hidden states of the sequence text encoder
    pooled          (B, pooled_dim), pooled output of the other one
    style_states    one entry a style image: the hidden states that the projector reads, each (B, tokens, dim); a
                    projector that learns has to be a part of the pass
    style_tokens    one entry for each style image after those: what the projector made of it once, (B, n, hidden)
    contents        one entry a content image: scaled latents (B, C, h, w)
    style_seen      bool (B, style images), False where an image of the batch lacks that reference; None: all have it
    content_seen    bool (B, content images), likewise
    absent_content  latent size (h, w) of a content before `contents` that no image of the batch has: it has no tokens,
                    but they lie where they would lie after it; None: there is no such place
    """

    text: Tensor
    pooled: Tensor
    style_states: Sequence[Sequence[Tensor]] = ()
    style_tokens: Sequence[Tensor] = ()
    contents: Sequence[Tensor] = ()
    style_seen: Tensor | None = None
    content_seen: Tensor | None = None
    absent_content: tuple[int, int] | None = None


class UsoDenoiser(nn.Module):
    """Transformer and projector as the one module that trainings wrap; `projector` is None without a vision encoder."""

    def __init__(
        self, transformer: FluxTransformer2DModel, projector: StyleProjector | None, *, positions: Positions
    ) -> None:
        super().__init__()
        self.transformer, self.projector, self.positions = transformer, projector, positions

    def forward(self, latents: Tensor, sigma: Tensor, conditions: Conditions, guidance: float | None = None) -> Tensor:
        """Velocity noise - image at `sigma`, (B,) in [0, 1] (1 is noise), of latents (B, C, h, w): (B, C, h, w).

        `guidance` is used where the transformer embeds one. A reference that `*_seen` says is missing is masked out
        of the attention. That gives what its absence gives, if what comes after it stays where it is: contents after a
        missing one do so by `absent_content`.
        """
        size = (latents.shape[-2], latents.shape[-1])
        packed = [pack(latents), *(pack(each.to(latents.dtype)) for each in conditions.contents)]
        style = self._style_tokens(conditions)
        lengths = [[each.shape[1] for each in tokens] for tokens in (style, packed)]
        embeds = bool(self.transformer.config.guidance_embeds)
        velocity = denoise(
            self.transformer,
            torch.cat(packed, dim=1),
            conditions.text,
            conditions.pooled,
            sigma,
            self._image_ids(size, conditions).to(latents.device),
            torch.zeros(conditions.text.shape[1], 3, device=latents.device),
            sigma.new_full((len(latents),), 1.0 if guidance is None else guidance) if embeds else None,
            style_tokens=torch.cat(style, dim=1) if style else None,
            seen=_seen(conditions, *lengths),
        )
        return unpack(velocity[:, : packed[0].shape[1]], size)

    def _image_ids(self, size: tuple[int, int], conditions: Conditions) -> Tensor:
        """Position ids (tokens, 3) of a target of `size` (h, w) and of the contents."""
        sizes = [(each.shape[-2], each.shape[-1]) for each in conditions.contents]
        if conditions.absent_content is None:
            return image_ids(size, sizes, self.positions)
        ids = image_ids(size, [conditions.absent_content, *sizes], self.positions)
        target, absent = (h // PATCH * (w // PATCH) for h, w in (size, conditions.absent_content))
        return torch.cat([ids[:target], ids[target + absent :]])

    def _style_tokens(self, conditions: Conditions) -> list[Tensor]:
        """(B, n, hidden) of each style image."""
        if conditions.style_states and self.projector is None:
            raise ValueError("style states were given, but this model has no style projector")
        return [*(self.projector(states) for states in conditions.style_states), *conditions.style_tokens]  # type: ignore[misc]


def _seen(conditions: Conditions, style_lengths: Sequence[int], image_lengths: Sequence[int]) -> Tensor | None:
    """bool (B, tokens) in the order [style, text, target, content], or None where everything is seen. `image_lengths`:
    tokens of the target and of each content."""
    if conditions.style_seen is None and conditions.content_seen is None:
        return None
    batch, device = len(conditions.text), conditions.text.device

    def spread(seen: Tensor | None, counts: Sequence[int]) -> list[Tensor]:
        flags = torch.ones(batch, len(counts), dtype=torch.bool, device=device) if seen is None else seen
        return [flags[:, place, None].expand(-1, count) for place, count in enumerate(counts)]

    style, content = spread(conditions.style_seen, style_lengths), spread(conditions.content_seen, image_lengths[1:])
    always = torch.ones(batch, conditions.text.shape[1] + image_lengths[0], dtype=torch.bool, device=device)
    return torch.cat([*style, always, *content], dim=1)


def denoise(
    transformer: FluxTransformer2DModel,
    hidden_states: Tensor,
    encoder_hidden_states: Tensor,
    pooled_projections: Tensor,
    timestep: Tensor,
    img_ids: Tensor,
    txt_ids: Tensor,
    guidance: Tensor | None,
    *,
    style_tokens: Tensor | None = None,
    seen: Tensor | None = None,
) -> Tensor:
    """`FluxTransformer2DModel.forward` with style tokens (B, S, hidden) put before the embedded text.

    hidden_states          (B, image tokens, in_channels): target and content
    encoder_hidden_states  (B, text tokens, joint_dim)
    timestep, guidance     (B,); the timestep in [0, 1]
    img_ids, txt_ids       (tokens, 3); style tokens get zeros, as text has
    seen                   bool (B, S + text + image tokens), False where no token may attend; None: all are seen

    Returns (B, image tokens, out_channels). Gradient checkpointing is the transformer's own switch.
    """
    states = transformer.x_embedder(hidden_states)
    times = [timestep.to(states.dtype) * 1000]
    if guidance is not None:
        times.append(guidance.to(states.dtype) * 1000)
    embedding = transformer.time_text_embed(*times, pooled_projections)
    context = transformer.context_embedder(encoder_hidden_states)
    if style_tokens is not None:
        context = torch.cat([style_tokens.to(context.dtype), context], dim=1)
        txt_ids = torch.cat([txt_ids.new_zeros(style_tokens.shape[1], 3), txt_ids])
    rotary = transformer.pos_embed(torch.cat([txt_ids, img_ids]))
    extra = None if seen is None else {"attention_mask": seen[:, None, None, :]}
    checkpointing = torch.is_grad_enabled() and transformer.gradient_checkpointing
    for block in [*transformer.transformer_blocks, *transformer.single_transformer_blocks]:
        if checkpointing:
            context, states = transformer._gradient_checkpointing_func(block, states, context, embedding, rotary, extra)
        else:
            context, states = block(states, context, embedding, rotary, extra)
    out: Tensor = transformer.proj_out(transformer.norm_out(states, embedding))
    return out
