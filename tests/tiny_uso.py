"""A USO of toy size from real components of the real classes, untrained, for tests."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxTransformer2DModel
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    SiglipImageProcessor,
    SiglipVisionConfig,
    SiglipVisionModel,
    T5Config,
    T5EncoderModel,
)

from curate.zoo.vocabulary import train_tokenizer
from pipelines.uso.pipeline import UsoPipeline
from pipelines.uso.projector import StyleProjector

HIDDEN, LATENT_CHANNELS = 32, 4
WORDS = ("a red tent", "a small dog in ink", "an old box", "the tall tree", "a blue disc")


def tiny_transformer(*, guidance: bool = True) -> FluxTransformer2DModel:
    return FluxTransformer2DModel(
        in_channels=4 * LATENT_CHANNELS,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=24,
        pooled_projection_dim=20,
        guidance_embeds=guidance,
        axes_dims_rope=(4, 6, 6),
    )


def tiny_projector(kind: Any = "hierarchical") -> StyleProjector:
    return StyleProjector(
        kind=kind, levels=(-1, -2, -3), vision_tokens=4, vision_dim=16, tokens_per_level=2, hidden_dim=HIDDEN, heads=2
    )


def tiny_uso(*, seed: int = 0, projector: Any = "hierarchical", **options: Any) -> UsoPipeline:
    """64 px pictures, 8 x 8 latents, 16 target tokens. `projector` None leaves the vision encoder out."""
    torch.manual_seed(seed)
    tokenizer = train_tokenizer(list(WORDS), size=300)
    vocabulary = len(tokenizer)
    clip = CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=20,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=12,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    t5 = T5Config(vocab_size=vocabulary, d_model=24, d_kv=12, d_ff=32, num_layers=1, num_heads=2)
    vision = SiglipVisionConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=3, num_attention_heads=2, image_size=32, patch_size=16
    )
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(4, 4, 8, 8),
        norm_num_groups=4,
        latent_channels=LATENT_CHANNELS,
        scaling_factor=0.5,
        shift_factor=0.1,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )
    seen = projector is not None
    pipeline = UsoPipeline(
        transformer=tiny_transformer(),
        vae=vae,
        text_encoder=CLIPTextModel(clip),
        tokenizer=tokenizer,
        text_encoder_2=T5EncoderModel(t5),
        tokenizer_2=tokenizer,
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vision_encoder=SiglipVisionModel(vision) if seen else None,
        vision_processor=SiglipImageProcessor(size={"height": 32, "width": 32}) if seen else None,
        projector=tiny_projector(projector) if seen else None,
        **{"content_px": 64, "size_px": 64, "max_text_tokens": 6, **options},
    )
    pipeline.set_progress_bar_config(disable=True)
    for module in (pipeline.transformer, pipeline.vae, pipeline.text_encoder, pipeline.text_encoder_2):
        module.eval()
    return pipeline
