"""The models of configs/flux2-klein.yaml at their true geometry with random weights, built on the device; or as toys.

Sizes are those of the published configs: FLUX.2 klein 4B with Qwen3 4B as its text encoder, Qwen3-VL 2B, CSD's ViT-L/14
and DINOv2 ViT-L/14. Tokenizers are not to be had without a hub: every byte is a token here, so the judge reads some
four times the text tokens of the real one; klein pads prompts to a fixed length, so nothing changes there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKLFlux2,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Transformer2DModel,
)
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    Dinov2Config,
    Dinov2Model,
    Qwen2Tokenizer,
    Qwen2VLImageProcessor,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)

from filters.csd_network import OFFICIAL_ARCH, CsdArch, CsdNetwork
from filters.csd_weights import save_csd

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>",
           "<|video_pad|>")
IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"
CHAT = ("{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
        "{% if m['content'] is string %}{{ m['content'] }}{% else %}"
        "{% for part in m['content'] %}{% if part['type'] == 'image' %}" + IMAGE + "{% else %}{{ part['text'] }}"
        "{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")
ROPE = {"rope_type": "default", "rope_theta": 5e6, "mrope_section": [24, 20, 20]}


@dataclass(frozen=True)
class Geometry:
    """Arguments of the networks' configs."""

    px: int
    dtype: torch.dtype
    transformer: dict[str, Any]
    text: dict[str, Any]
    vae: dict[str, Any]
    judge_text: dict[str, Any]
    judge_vision: dict[str, Any]
    csd: CsdArch
    dino: dict[str, Any]


TRUE = Geometry(
    px=768, dtype=torch.bfloat16,
    transformer={"num_layers": 5, "num_single_layers": 20, "num_attention_heads": 24, "attention_head_dim": 128,
                 "joint_attention_dim": 3 * 2560, "guidance_embeds": False},
    text={"vocab_size": 151936, "hidden_size": 2560, "intermediate_size": 9728, "num_hidden_layers": 36,
          "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128, "max_position_embeddings": 40960,
          "tie_word_embeddings": True},
    vae={},
    judge_text={"vocab_size": 151936, "hidden_size": 2048, "intermediate_size": 6144, "num_hidden_layers": 28,
                "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128, "rope_parameters": ROPE,
                "tie_word_embeddings": True, "max_position_embeddings": 262144},
    judge_vision={"depth": 24, "hidden_size": 1024, "intermediate_size": 4096, "num_heads": 16, "patch_size": 16,
                  "out_hidden_size": 2048, "deepstack_visual_indexes": [5, 11, 17]},
    csd=OFFICIAL_ARCH,
    dino={"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "patch_size": 14, "image_size": 518})
TOY = Geometry(
    px=64, dtype=torch.float32,
    transformer={"num_layers": 1, "num_single_layers": 1, "num_attention_heads": 2, "attention_head_dim": 16,
                 "joint_attention_dim": 3 * 16, "guidance_embeds": False, "in_channels": 16,
                 "axes_dims_rope": (4, 4, 4, 4), "timestep_guidance_channels": 16},
    text={"vocab_size": 300, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 28,
          "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8, "max_position_embeddings": 1024},
    vae={"block_out_channels": (4, 4, 8, 8), "norm_num_groups": 4, "layers_per_block": 1, "latent_channels": 4,
         "mid_block_add_attention": False},
    judge_text={"vocab_size": 300, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
                "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 4096,
                "rope_parameters": {**ROPE, "mrope_section": [1, 1, 2]}, "tie_word_embeddings": True},
    judge_vision={"depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "patch_size": 16,
                  "out_hidden_size": 32, "num_position_embeddings": 16, "deepstack_visual_indexes": [0]},
    csd=CsdArch(image_size=32, patch_size=8, width=32, layers=2, head_width=16, head_dim=16),
    dino={"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 14, "image_size": 56})


@contextmanager
def built_on(device: str, dtype: torch.dtype) -> Iterator[None]:
    """New parameters are made there, in that precision."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            yield
    finally:
        torch.set_default_dtype(before)


def klein(size: Geometry, device: str) -> Flux2KleinPipeline:
    """The editor. Weights are as the classes initialise them: pictures of noise at the true cost."""
    with built_on(device, size.dtype):
        parts = {"transformer": Flux2Transformer2DModel(**size.transformer), "vae": AutoencoderKLFlux2(**size.vae),
                 "text_encoder": Qwen3ForCausalLM(Qwen3Config(**size.text))}
    for part in parts.values():
        part.eval().requires_grad_(False)
    pipeline = Flux2KleinPipeline(**parts, tokenizer=tokenizer(), scheduler=FlowMatchEulerDiscreteScheduler(),
                                  is_distilled=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def judge(size: Geometry, device: str) -> tuple[Qwen3VLProcessor, Qwen3VLForConditionalGeneration]:
    """Processor and network of the judge."""
    words = tokenizer()
    ids = dict(zip(SPECIAL, words.convert_tokens_to_ids(list(SPECIAL)), strict=True))
    config = Qwen3VLConfig(
        text_config=size.judge_text, vision_config=size.judge_vision, image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"], vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"], tie_word_embeddings=True)
    patch = size.judge_vision["patch_size"]
    processor = Qwen3VLProcessor(Qwen2VLImageProcessor(patch_size=patch, merge_size=2), words,
                                 Qwen3VLVideoProcessor(patch_size=patch), chat_template=CHAT)
    with built_on(device, size.dtype):
        return processor, Qwen3VLForConditionalGeneration(config).eval().requires_grad_(False)


def vit_folders(size: Geometry, device: str, folder: Path) -> tuple[str, str]:
    """CSD and DINOv2, saved for their scorers to load."""
    with built_on(device, torch.float32):
        save_csd(CsdNetwork(size.csd), folder / "csd")
        Dinov2Model(Dinov2Config(**size.dino)).save_pretrained(folder / "dino")
    return str(folder / "csd"), str(folder / "dino")


def tokenizer() -> Qwen2Tokenizer:
    """Bytes and special tokens, with a chat template."""
    vocabulary = {token: i for i, token in enumerate([*sorted(ByteLevel.alphabet()), *SPECIAL])}
    words = Qwen2Tokenizer(vocab=vocabulary, merges=[], model_max_length=262144)
    words.add_special_tokens({"additional_special_tokens": list(SPECIAL[1:])})
    words.chat_template = CHAT
    return words
