"""Toy vision-language models with random weights, of the classes that full-size judges have, saved as theirs are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import (
    GotOcr2ImageProcessor,
    InternVLConfig,
    InternVLForConditionalGeneration,
    InternVLProcessor,
    InternVLVideoProcessor,
    InternVLVisionConfig,
    LlamaConfig,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2Config,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
    SmolVLMImageProcessor,
    SmolVLMProcessor,
    SmolVLMVideoProcessor,
)

from curate.zoo.vocabulary import train_tokenizer

PX, PATCH = 32, 8
TEXT: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
                        "num_key_value_heads": 2, "vocab_size": 400, "max_position_embeddings": 4096,
                        "initializer_range": 0.2, "tie_word_embeddings": True}
ROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]}
CHAT = ("{{% for m in messages %}}<|im_start|>{{{{ m['role'] }}}}\n{{% for part in m['content'] %}}"
        "{{% if part['type'] == 'image' %}}{image}{{% else %}}{{{{ part['text'] }}}}{{% endif %}}{{% endfor %}}"
        "<|im_end|>\n{{% endfor %}}{{% if add_generation_prompt %}}<|im_start|>assistant\n{{% endif %}}")


def tokenizer(*extra: str, **named: str) -> Any:
    """Byte-level BPE with the special tokens of a model family."""
    made = train_tokenizer(["yes no 0 1 2 3 4 "] * 9, size=TEXT["vocab_size"], wrap=False,
                           extra=("<|im_start|>", "<|im_end|>", *extra))
    return PreTrainedTokenizerFast(tokenizer_object=made.backend_tokenizer, pad_token=made.pad_token,
                                   eos_token="<|im_end|>", extra_special_tokens=named)


def qwen3() -> tuple[Any, Any]:
    """Qwen3-VL."""
    words = tokenizer("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>")
    ids = words.convert_tokens_to_ids
    images = Qwen2VLImageProcessor(patch_size=PATCH, merge_size=2, size={"shortest_edge": PX * PX,
                                                                        "longest_edge": PX * PX})
    processor = Qwen3VLProcessor(images, words, Qwen3VLVideoProcessor(patch_size=PATCH),
                                 chat_template=CHAT.format(image="<|vision_start|><|image_pad|><|vision_end|>"))
    config = Qwen3VLConfig(
        text_config={**TEXT, "head_dim": 8, "rope_parameters": ROPE},
        vision_config={"depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "patch_size": PATCH,
                       "spatial_merge_size": 2, "out_hidden_size": 32, "num_position_embeddings": 16,
                       "deepstack_visual_indexes": [0], "initializer_range": 0.2},
        image_token_id=ids("<|image_pad|>"), video_token_id=ids("<|video_pad|>"),
        vision_start_token_id=ids("<|vision_start|>"), vision_end_token_id=ids("<|vision_end|>"))
    return Qwen3VLForConditionalGeneration(config), processor


def qwen2_5() -> tuple[Any, Any]:
    """Qwen2.5-VL."""
    words = tokenizer("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>")
    ids = words.convert_tokens_to_ids
    images = Qwen2VLImageProcessor(patch_size=PATCH, merge_size=2, size={"shortest_edge": PX * PX,
                                                                        "longest_edge": PX * PX})
    processor = Qwen2_5_VLProcessor(images, words, Qwen2VLVideoProcessor(patch_size=PATCH),
                                    chat_template=CHAT.format(image="<|vision_start|><|image_pad|><|vision_end|>"))
    config = Qwen2_5_VLConfig(
        text_config={**TEXT, "rope_parameters": ROPE},
        vision_config={"depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "patch_size": PATCH,
                       "spatial_merge_size": 2, "out_hidden_size": 32, "window_size": 32, "fullatt_block_indexes": [1],
                       "initializer_range": 0.2},
        image_token_id=ids("<|image_pad|>"), video_token_id=ids("<|video_pad|>"),
        vision_start_token_id=ids("<|vision_start|>"), vision_end_token_id=ids("<|vision_end|>"))
    return Qwen2_5_VLForConditionalGeneration(config), processor


def internvl() -> tuple[Any, Any]:
    """InternVL, as converted for transformers."""
    words = tokenizer("<img>", "</img>", "<IMG_CONTEXT>", "<video>", start_image_token="<img>",
                      end_image_token="</img>", context_image_token="<IMG_CONTEXT>", video_token="<video>")
    images = GotOcr2ImageProcessor(size={"height": PX, "width": PX}, crop_to_patches=False)
    processor = InternVLProcessor(images, words, InternVLVideoProcessor(), image_seq_length=(PX // PATCH) ** 2 // 4,
                                  chat_template=CHAT.format(image="<IMG_CONTEXT>"))
    config = InternVLConfig(
        vision_config=InternVLVisionConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
                                           intermediate_size=64, image_size=(PX, PX), patch_size=(PATCH, PATCH),
                                           initializer_range=0.2),
        text_config=Qwen2Config(**TEXT), image_token_id=words.convert_tokens_to_ids("<IMG_CONTEXT>"),
        tie_word_embeddings=True)
    return InternVLForConditionalGeneration(config), processor


def smolvlm() -> tuple[Any, Any]:
    """SmolVLM."""
    words = tokenizer("<fake_token_around_image>", "<image>", "<end_of_utterance>", "<global-img>")
    side = {"longest_edge": PX}
    images = SmolVLMImageProcessor(size=side, max_image_size=side, do_image_splitting=False)
    processor = SmolVLMProcessor(images, words, SmolVLMVideoProcessor(size=side, max_image_size=side),
                                 image_seq_len=(PX // PATCH) ** 2 // 4, chat_template=CHAT.format(image="<image>"))
    config = SmolVLMConfig(
        vision_config={"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64,
                       "image_size": PX, "patch_size": PATCH, "initializer_range": 0.2},
        text_config=LlamaConfig(**TEXT), scale_factor=2, image_token_id=words.convert_tokens_to_ids("<image>"),
        tie_word_embeddings=True)
    return SmolVLMForConditionalGeneration(config), processor


JUDGES: dict[str, Callable[[], tuple[Any, Any]]] = {
    "qwen3-vl": qwen3, "qwen2.5-vl": qwen2_5, "internvl": internvl, "smolvlm": smolvlm}


def save_judge(name: str, folder: Path) -> Path:
    """The folder that AutoProcessor and AutoModelForImageTextToText read."""
    torch.manual_seed(0)
    model, processor = JUDGES[name]()
    model.generation_config.pad_token_id = processor.tokenizer.pad_token_id
    model.generation_config.eos_token_id = processor.tokenizer.convert_tokens_to_ids("<|im_end|>")
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
