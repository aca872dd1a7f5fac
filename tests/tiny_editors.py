"""The editing pipelines of the presets at toy size: the true classes with seeded random weights, saved to folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLFlux2,
    AutoencoderKLQwenImage,
    ControlNetModel,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Pipeline,
    Flux2Transformer2DModel,
    FluxKontextPipeline,
    FluxPipeline,
    FluxTransformer2DModel,
    QwenImageEditPlusPipeline,
    QwenImageTransformer2DModel,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    CLIPImageProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    Mistral3Config,
    Mistral3ForConditionalGeneration,
    PixtralImageProcessor,
    PixtralProcessor,
    PixtralVisionConfig,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Tokenizer,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
    Qwen3Config,
    Qwen3ForCausalLM,
    SiglipImageProcessor,
    SiglipVisionConfig,
    SiglipVisionModel,
    T5Config,
    T5EncoderModel,
)

from curate.zoo.vocabulary import train_tokenizer
from tests.tiny_pipelines import tiny_tokenizer

CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}IMAGE{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
QWEN_IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"
QWEN_SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>",
                "<|video_pad|>")


def qwen_tokenizer() -> Qwen2Tokenizer:
    """Every byte is a token, so any prompt changes the ids."""
    vocabulary = {token: i for i, token in enumerate([*sorted(ByteLevel.alphabet()), *QWEN_SPECIAL])}
    tokenizer = Qwen2Tokenizer(vocab=vocabulary, merges=[], model_max_length=4096)
    tokenizer.add_special_tokens({"additional_special_tokens": list(QWEN_SPECIAL[1:])})
    tokenizer.chat_template = CHAT.replace("IMAGE", QWEN_IMAGE)
    return tokenizer


def _flux2_parts(joint_dim: int) -> dict[str, Any]:
    transformer = Flux2Transformer2DModel(
        patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=joint_dim, axes_dims_rope=(4, 4, 4, 4), timestep_guidance_channels=16)
    vae = AutoencoderKLFlux2(
        block_out_channels=(4, 4, 8, 8), norm_num_groups=4, layers_per_block=1, latent_channels=4, sample_size=64,
        mid_block_add_attention=False)
    return {"scheduler": FlowMatchEulerDiscreteScheduler(), "transformer": _loud(transformer), "vae": vae}


def _loud(transformer: torch.nn.Module) -> torch.nn.Module:
    """Random weights whose attention matters: the defaults are so small that conditions vanish in the rounding."""
    with torch.no_grad():
        for parameter in transformer.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=1.5 / parameter[0].numel() ** 0.5)
    return transformer


def save_flux2_klein(folder: Path) -> Path:
    """FLUX.2 klein: Qwen3 reads the prompt, all references in one list; 28 layers for the three it takes states of."""
    torch.manual_seed(0)
    tokenizer = qwen_tokenizer()
    text = Qwen3ForCausalLM(Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=28, num_attention_heads=2,
        num_key_value_heads=1, head_dim=8, max_position_embeddings=1024))
    parts = _flux2_parts(joint_dim=3 * 16)
    Flux2KleinPipeline(text_encoder=text, tokenizer=tokenizer, is_distilled=True, **parts).save_pretrained(folder)
    return folder


def save_flux2_dev(folder: Path) -> Path:
    """FLUX.2 dev: Mistral 3 reads the prompt; 31 layers for the three it takes states of."""
    torch.manual_seed(0)
    special = ["<pad>", "<s>", "</s>", "[IMG]", "[IMG_BREAK]", "[IMG_END]"]
    tokenizer = train_tokenizer(["a red tent"], size=280, extra=special[3:])
    assert isinstance(tokenizer, PreTrainedTokenizerFast)
    tokenizer.chat_template = CHAT.replace("IMAGE", "[IMG]")
    processor = PixtralProcessor(
        image_processor=PixtralImageProcessor(size={"longest_edge": 28}, patch_size={"height": 14, "width": 14}),
        tokenizer=tokenizer, patch_size=14, chat_template=tokenizer.chat_template)
    vision = PixtralVisionConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
                                 image_size=28, patch_size=14)
    words = {"model_type": "mistral", "vocab_size": len(tokenizer), "hidden_size": 16, "intermediate_size": 16,
             "num_hidden_layers": 31, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8,
             "max_position_embeddings": 1024}
    config = Mistral3Config(text_config=words, vision_config=vision.to_dict(),
                            image_token_index=tokenizer.convert_tokens_to_ids("[IMG]"))
    text = Mistral3ForConditionalGeneration(config)
    Flux2Pipeline(text_encoder=text, tokenizer=processor, **_flux2_parts(joint_dim=3 * 16)).save_pretrained(folder)
    return folder


def _flux_parts(folder: Path) -> dict[str, Any]:
    """What FLUX.1 and Kontext have in common."""
    words, t5_words = tiny_tokenizer(folder.parent / "tokenizer"), train_tokenizer(["a red tent"], size=280)
    clip = CLIPTextModel(CLIPTextConfig(
        vocab_size=len(words), hidden_size=20, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=32, bos_token_id=len(words) - 2, eos_token_id=len(words) - 1))
    t5 = T5EncoderModel(T5Config(vocab_size=len(t5_words), d_model=24, d_kv=12, d_ff=32, num_layers=1, num_heads=2))
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(4, 4, 8, 8), norm_num_groups=4, latent_channels=4, scaling_factor=0.5, shift_factor=0.1,
        use_quant_conv=False, use_post_quant_conv=False, mid_block_add_attention=False)
    transformer = FluxTransformer2DModel(
        in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=24, pooled_projection_dim=20, guidance_embeds=True, axes_dims_rope=(4, 6, 6))
    return {"scheduler": FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True), "vae": vae, "text_encoder": clip,
            "tokenizer": words, "text_encoder_2": t5, "tokenizer_2": t5_words, "transformer": _loud(transformer)}


def save_flux_kontext(folder: Path) -> Path:
    """FLUX.1 Kontext: one image a call."""
    torch.manual_seed(0)
    FluxKontextPipeline(**_flux_parts(folder)).save_pretrained(folder)
    return folder


def save_flux_dev(folder: Path) -> Path:
    """FLUX.1 dev as its authors publish it: the base that USO's released files go on."""
    torch.manual_seed(0)
    FluxPipeline(**_flux_parts(folder)).save_pretrained(folder)
    return folder


def save_siglip(folder: Path) -> Path:
    """A vision encoder with its processor, as google/siglip-* has them: 4 tokens of 16."""
    torch.manual_seed(0)
    config = SiglipVisionConfig(hidden_size=16, intermediate_size=32, num_hidden_layers=3, num_attention_heads=2,
                                image_size=32, patch_size=16)
    SiglipVisionModel(config).save_pretrained(folder)
    SiglipImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def qwen_vl() -> tuple[Qwen2_5_VLForConditionalGeneration, Qwen2VLProcessor]:
    """A vision-language model and its processor: text encoder of Qwen-Image-Edit, and a captioner."""
    tokenizer = qwen_tokenizer()
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer), "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2,
            "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 4096,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]},
            "bos_token_id": tokenizer.convert_tokens_to_ids("<|endoftext|>"),
            "eos_token_id": tokenizer.convert_tokens_to_ids("<|im_end|>"),
            "pad_token_id": tokenizer.convert_tokens_to_ids("<|endoftext|>")},
        vision_config={"depth": 2, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16,
                       "fullatt_block_indexes": [1], "window_size": 112, "patch_size": 14},
        image_token_id=tokenizer.convert_tokens_to_ids("<|image_pad|>"),
        video_token_id=tokenizer.convert_tokens_to_ids("<|video_pad|>"),
        vision_start_token_id=tokenizer.convert_tokens_to_ids("<|vision_start|>"),
        vision_end_token_id=tokenizer.convert_tokens_to_ids("<|vision_end|>"))
    processor = Qwen2VLProcessor(
        image_processor=Qwen2VLImageProcessor(min_pixels=28 * 28, max_pixels=56 * 56), tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(), chat_template=tokenizer.chat_template)
    return Qwen2_5_VLForConditionalGeneration(config), processor


def save_qwen_edit(folder: Path) -> Path:
    """Qwen-Image-Edit Plus."""
    torch.manual_seed(0)
    text, processor = qwen_vl()
    vae = AutoencoderKLQwenImage(
        base_dim=4, z_dim=4, dim_mult=[1] * 4, num_res_blocks=1, temperal_downsample=[False, True, True],
        latents_mean=[0.0] * 4, latents_std=[1.0] * 4)
    transformer = QwenImageTransformer2DModel(
        patch_size=2, in_channels=16, out_channels=4, num_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=16, axes_dims_rope=(4, 6, 6))
    scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    QwenImageEditPlusPipeline(
        scheduler=scheduler, vae=_loud(vae), text_encoder=text, tokenizer=processor.tokenizer, processor=processor,
        transformer=_loud(transformer)).save_pretrained(folder)
    return folder


def save_captioner(folder: Path) -> Path:
    """An image-text model as transformers' Auto classes load it."""
    torch.manual_seed(0)
    model, processor = qwen_vl()
    _loud(model)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


UNET = {"block_out_channels": (8, 16), "norm_num_groups": 4, "layers_per_block": 2, "cross_attention_dim": 24,
        "attention_head_dim": 4, "transformer_layers_per_block": 1, "use_linear_projection": True,
        "addition_embed_type": "text_time", "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 6 * 8 + 16, 
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D")}


def save_sdxl(folder: Path) -> Path:
    """Stable Diffusion XL as published: no ControlNet, no image encoder."""
    torch.manual_seed(0)
    words = tiny_tokenizer(folder.parent / "tokenizer")
    sizes = {"vocab_size": len(words), "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
             "max_position_embeddings": 32, "bos_token_id": len(words) - 2, "eos_token_id": len(words) - 1,
             "pad_token_id": len(words) - 1}
    vae = AutoencoderKL(
        block_out_channels=[8, 16], norm_num_groups=4, latent_channels=4, sample_size=64,
        down_block_types=["DownEncoderBlock2D"] * 2, up_block_types=["UpDecoderBlock2D"] * 2)
    unet = UNet2DConditionModel(sample_size=32, in_channels=4, out_channels=4,
                                up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), **UNET)
    StableDiffusionXLPipeline(
        vae=vae, text_encoder=CLIPTextModel(CLIPTextConfig(hidden_size=8, **sizes)), tokenizer=words,
        text_encoder_2=CLIPTextModelWithProjection(CLIPTextConfig(hidden_size=16, projection_dim=16, **sizes)),
        tokenizer_2=words, unet=_loud(unet), scheduler=EulerDiscreteScheduler()).save_pretrained(folder)
    return folder


def save_controlnet(folder: Path) -> Path:
    """A ControlNet for ``save_sdxl``; its output layers are zero when new, and must not be here."""
    torch.manual_seed(1)
    controlnet = ControlNetModel(in_channels=4, conditioning_embedding_out_channels=(8, 16), **UNET)
    with torch.no_grad():
        for parameter in controlnet.parameters():
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.5)
    controlnet.save_pretrained(folder)
    return folder


def save_ip_adapter(folder: Path, sdxl: Path) -> Path:
    """An IP-Adapter for ``save_sdxl`` in h94/IP-Adapter's layout: one file, and the image encoder in a folder."""
    torch.manual_seed(2)
    encoder = CLIPVisionModelWithProjection(CLIPVisionConfig(
        hidden_size=16, intermediate_size=32, projection_dim=12, num_hidden_layers=2, num_attention_heads=2,
        image_size=32, patch_size=16))
    (folder / "models" / "image_encoder").mkdir(parents=True)
    encoder.save_pretrained(folder / "models" / "image_encoder")
    CLIPImageProcessor(size=32, crop_size=32).save_pretrained(folder / "models" / "image_encoder")
    unet = UNet2DConditionModel.from_pretrained(sdxl / "unet")
    state: dict[str, torch.Tensor] = {
        "image_proj.proj.weight": torch.randn(4 * 24, 12), "image_proj.proj.bias": torch.zeros(4 * 24),
        "image_proj.norm.weight": torch.ones(24), "image_proj.norm.bias": torch.zeros(24)}
    place = 1
    for name in unet.attn_processors:
        if name.endswith("attn1.processor"):
            continue
        width = unet.get_submodule(name.removesuffix(".processor")).to_q.weight.shape[0]
        for part in ("k", "v"):
            state[f"ip_adapter.{place}.to_{part}_ip.weight"] = torch.randn(width, 24)
        place += 2
    (folder / "sdxl_models").mkdir()
    safetensors.torch.save_file(state, folder / "sdxl_models" / "ip-adapter_sdxl_vit-h.safetensors")
    return folder
