"""From prompts and pictures to what the denoiser takes; used alike by the pipeline and by trainings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import AutoencoderKL
from PIL import Image
from torch import Tensor


def encode_prompts(
    prompts: Sequence[str],
    *,
    clip: Any,
    clip_tokenizer: Any,
    t5: Any,
    t5_tokenizer: Any,
    max_tokens: int,
    device: torch.device | None = None,
) -> tuple[Tensor, Tensor]:
    """Prompts -> text states (B, max_tokens, joint_dim) and pooled (B, pooled_dim), as FLUX encodes them.

    Both are padded to their full length and no mask is used, which is how FLUX was trained. Longer prompts are cut.
    `device`: where the encoders compute, if that is not where they lie.
    """

    def ids(tokenizer: Any, length: int, encoder: Any) -> Tensor:
        options = {"padding": "max_length", "truncation": True, "return_tensors": "pt"}
        found: Tensor = tokenizer(list(prompts), max_length=length, **options).input_ids
        return found.to(device or encoder.device)

    pooled = clip(ids(clip_tokenizer, clip.config.max_position_embeddings, clip)).pooler_output
    text = t5(ids(t5_tokenizer, max_tokens, t5))[0]
    return text, pooled


def encode_latents(vae: AutoencoderKL, images: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
    """float (B, 3, H, W) in [-1, 1] -> scaled latents (B, C, H/8, W/8): (z - shift) * scale.

    z is the posterior's mode, or with a generator a sample of it.
    """
    posterior = vae.encode(images.to(vae.dtype)).latent_dist
    z = posterior.mode() if generator is None else posterior.sample(generator)
    shift = vae.config.shift_factor or 0.0
    latents: Tensor = (z - shift) * vae.config.scaling_factor
    return latents


def decode_latents(vae: AutoencoderKL, latents: Tensor) -> Tensor:
    """Inverse of `encode_latents`: float (B, 3, H, W), about [-1, 1], not clamped."""
    shift = vae.config.shift_factor or 0.0
    images: Tensor = vae.decode((latents / vae.config.scaling_factor + shift).to(vae.dtype), return_dict=False)[0]
    return images


def style_pixels(images: Sequence[Image.Image], processor: Any) -> Tensor:
    """Style images -> what the vision encoder takes, (B, 3, S, S), by its own processor (SigLIP: resized, not cut)."""
    found: Tensor = processor(images=list(images), return_tensors="pt").pixel_values
    return found


def vision_states(vision_encoder: Any, pixel_values: Tensor) -> tuple[Tensor, ...]:
    """All hidden states of the vision encoder, each (B, tokens, dim), input embeddings first."""
    out = vision_encoder(pixel_values=pixel_values.to(vision_encoder.dtype), output_hidden_states=True)
    states: tuple[Tensor, ...] = out.hidden_states
    return states
