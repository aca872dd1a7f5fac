"""A compact USO of realistic proportions from config objects, with random weights, and shards of noise to feed it."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxTransformer2DModel
from PIL import Image
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    SiglipImageProcessor,
    SiglipVisionConfig,
    SiglipVisionModel,
    T5Config,
    T5EncoderModel,
)
from webdataset import TarWriter

from curate.interfaces import ROLES
from curate.seal.sealing import FORMAT
from curate.zoo.vocabulary import train_tokenizer
from pipelines.uso.pipeline import UsoPipeline
from pipelines.uso.projector import StyleProjector

WORDS = ("a red tent", "a small dog in ink", "an old box", "the tall tree", "a blue disc", "a lamp on a table")


def compact_uso() -> UsoPipeline:
    """64 px, f8 latents of 16 channels, 16 target tokens, DiT of 192 x (3 + 6), SigLIP-like encoder of 64 tokens."""
    torch.manual_seed(0)
    tokenizer = train_tokenizer(list(WORDS), size=300)
    clip = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=24,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    t5 = T5Config(vocab_size=len(tokenizer), d_model=128, d_kv=32, d_ff=256, num_layers=2, num_heads=4)
    vision = SiglipVisionConfig(
        hidden_size=192, intermediate_size=768, num_hidden_layers=6, num_attention_heads=6, image_size=64, patch_size=8
    )
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(24, 48, 64, 96),
        layers_per_block=1,
        norm_num_groups=8,
        latent_channels=16,
        scaling_factor=0.36,
        shift_factor=0.12,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )
    hidden = 192
    transformer = FluxTransformer2DModel(
        in_channels=64,
        num_layers=4,
        num_single_layers=8,
        attention_head_dim=32,
        num_attention_heads=hidden // 32,
        joint_attention_dim=128,
        pooled_projection_dim=128,
        guidance_embeds=False,
        axes_dims_rope=(4, 14, 14),
    )
    pipeline = UsoPipeline(
        transformer=transformer,
        vae=vae,
        text_encoder=CLIPTextModel(clip),
        tokenizer=tokenizer,
        text_encoder_2=T5EncoderModel(t5),
        tokenizer_2=tokenizer,
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vision_encoder=SiglipVisionModel(vision),
        vision_processor=SiglipImageProcessor(size={"height": 64, "width": 64}),
        projector=StyleProjector(
            levels=(-1, -3, -5), vision_tokens=64, vision_dim=192, tokens_per_level=4, hidden_dim=hidden
        ),
        positions="aligned",
        content_px=64,
        size_px=64,
        max_text_tokens=16,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def write_shards(folder: Path, *, samples: int, shards: int, side_px: int) -> None:
    """A sealed dataset of smooth random pictures as JPEG, all in the train split."""
    folder.mkdir(parents=True)
    draws = np.random.default_rng(0)
    listed = []
    for number in range(shards):
        name = f"train-{number:06d}.tar"
        with TarWriter(str(folder / name)) as tar:
            for place in range(number, samples, shards):
                images = {f"{role}.jpg": _jpeg(draws, side_px) for role in ROLES}
                text = {"txt": WORDS[place % len(WORDS)].encode(), "json": b'{"layout": "preserved"}'}
                tar.write({"__key__": f"{place:06d}", **images, **text})
        listed.append({"name": name, "samples": len(range(number, samples, shards)), "split": "train"})
    members = [*(f"{role}.jpg" for role in ROLES), "txt", "json"]
    (folder / "dataset.json").write_text(json.dumps({"format": FORMAT, "members": members, "shards": listed}))


def _jpeg(draws: np.random.Generator, side_px: int) -> bytes:
    coarse = Image.fromarray(draws.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    held = io.BytesIO()
    coarse.resize((side_px, side_px), Image.Resampling.BICUBIC).save(held, "JPEG", quality=95, subsampling=0)
    return held.getvalue()
