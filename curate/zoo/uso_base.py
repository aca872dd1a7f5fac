"""Build the compact USO base: what FLUX.1-dev and SigLIP are to the full-size USO, at 64 px.

    curate zoo build uso-base       about 3 hours on one CPU core, 31 MB

Three trainings, one after the other: the autoencoder (`uso_vae`), the SigLIP (`uso_vision`), and here the transformer
with its two text encoders, by flow matching in the autoencoder's latents. The base draws subjects in styles named in
words, after a content image where there is one. Its projector is untrained, as USO's was before stage 1: style by
example is what `curate train` adds. Content tokens lie over the target's (`positions="aligned"`): at this size diagonal
ones take many times longer to copy from.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FluxTransformer2DModel
from torch import Tensor, nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    SiglipImageProcessor,
    SiglipVisionModel,
    T5Config,
    T5EncoderModel,
)

from curate.zoo.card import data_table, facts_table, write_card
from curate.zoo.data import EmojiData, load_emoji
from curate.zoo.uso_data import BaseStream, Sample, to_tensor
from curate.zoo.uso_vae import LATENT_CHANNELS, train_vae
from curate.zoo.uso_vae import PLAN as VAE_PLAN
from curate.zoo.uso_vision import LEVELS, VISION, train_vision
from curate.zoo.uso_vision import PLAN as VISION_PLAN
from curate.zoo.vocabulary import train_tokenizer
from pipelines.training import Ema, FitResult, MetricsLog, Plan, TrainState, fit, training_device
from pipelines.uso.encoders import encode_latents, encode_prompts
from pipelines.uso.flow import FlowConfig, flow_losses, noised
from pipelines.uso.model import Conditions, UsoDenoiser
from pipelines.uso.patch_autoencoder import PatchAutoencoder
from pipelines.uso.pipeline import UsoPipeline
from pipelines.uso.projector import StyleProjector

TRANSFORMER: Final[dict[str, Any]] = {
    "in_channels": 4 * LATENT_CHANNELS,
    "num_layers": 2,
    "num_single_layers": 5,
    "attention_head_dim": 64,
    "num_attention_heads": 4,
    "joint_attention_dim": 128,
    "pooled_projection_dim": 96,
    "guidance_embeds": False,
    "axes_dims_rope": (16, 24, 24),
}
TOKENS_PER_LEVEL: Final = 4
VOCABULARY: Final = 1536
END_ID: Final = 3
CLIP_TOKENS, T5_TOKENS = 12, 24  # CLIP's pooled vector sees little more than the subject's name
PLAN: Final = Plan(steps=5000, peak_lr=1e-3, warmup=200, cooldown=0.4, seed=23, save_every=250, log_every=50)
BATCH: Final = 64
FLOW: Final = FlowConfig(timesteps="logit_normal", shift="tokens")
NUM_CAPTIONS: Final = 6000  # that the vocabulary is learnt from


class TextToImage(nn.Module):
    """Transformer and text encoders: what learns together."""

    def __init__(self, vocabulary: int, transformer: Mapping[str, Any] = TRANSFORMER) -> None:
        super().__init__()
        self.transformer = FluxTransformer2DModel(**transformer)
        self.clip = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=vocabulary,
                hidden_size=transformer["pooled_projection_dim"],
                intermediate_size=2 * transformer["pooled_projection_dim"],
                num_hidden_layers=1,
                num_attention_heads=2,
                max_position_embeddings=CLIP_TOKENS,
                pad_token_id=0,
                bos_token_id=1,
                eos_token_id=END_ID,
            )
        )
        self.t5 = T5EncoderModel(
            T5Config(
                vocab_size=vocabulary,
                d_model=transformer["joint_attention_dim"],
                d_kv=32,
                d_ff=2 * transformer["joint_attention_dim"],
                num_layers=2,
                num_heads=4,
                dropout_rate=0.0,
                pad_token_id=0,
                eos_token_id=END_ID,
            )
        )

    def encode(self, captions: Sequence[str], tokenizer: Any) -> tuple[Tensor, Tensor]:
        """Captions -> text states (B, T5_TOKENS, joint) and pooled (B, pooled)."""
        return encode_prompts(
            captions,
            clip=self.clip,
            clip_tokenizer=tokenizer,
            t5=self.t5,
            t5_tokenizer=tokenizer,
            max_tokens=T5_TOKENS,
        )


def build(
    out: Path,
    work: Path,
    *,
    plan: Plan = PLAN,
    data: EmojiData | None = None,
    vae_plan: Plan = VAE_PLAN,
    vision_plan: Plan = VISION_PLAN,
    batch: int = BATCH,
) -> FitResult:
    """Train (or go on training) VAE, vision encoder and transformer; every save of the last writes the pipeline."""
    data = data or load_emoji()
    tokenizer = caption_tokenizer(data)
    vae, vae_result = train_vae(work / "vae", data, plan=vae_plan)
    if not vae_result.finished:
        return vae_result
    vision, vision_result = train_vision(work / "vision", data, tokenizer, plan=vision_plan)
    if not vision_result.finished:
        return vision_result

    def ship(state: TrainState) -> None:
        assert isinstance(state.model, TextToImage)
        assert state.ema is not None
        with state.ema.applied(state.model):
            assemble(state.model, vae, vision, tokenizer).save_pretrained(out)
        _write_card(out, data, {"VAE": vae_result, "SigLIP": vision_result}, state)

    state, result = train_transformer(work / "transformer", data, tokenizer, vae, plan=plan, batch=batch, on_save=ship)
    if result.finished and not (out / "model_index.json").is_file():
        ship(state)
    return result


def caption_tokenizer(data: EmojiData) -> Any:
    """Byte-level BPE over captions of the training stream; unseen words become pieces."""
    stream = BaseStream(data, seed=PLAN.seed)
    captions = [stream.sample(index).caption for index in range(NUM_CAPTIONS)]
    return train_tokenizer(captions, size=VOCABULARY, end_id=END_ID)


def train_transformer(
    work: Path,
    data: EmojiData,
    tokenizer: Any,
    vae: PatchAutoencoder,
    *,
    plan: Plan = PLAN,
    batch: int = BATCH,
    on_save: Callable[[TrainState], None] | None = None,
) -> tuple[TrainState, FitResult]:
    """Flow matching on `BaseStream`, content tokens masked where the content is withheld."""
    torch.manual_seed(plan.seed)
    device = training_device()
    model = TextToImage(len(tokenizer)).to(device)
    denoiser = UsoDenoiser(model.transformer, None, positions="aligned")
    parameters = model.parameters()
    optimiser = torch.optim.AdamW(parameters, lr=plan.peak_lr, betas=(0.9, 0.99), weight_decay=0.01, foreach=True)
    state = TrainState(model, optimiser, Ema(model, decay=0.999))
    stream = BaseStream(data, seed=plan.seed)

    def losses_of(drawn: tuple[int, list[Sample]]) -> Mapping[str, Tensor]:
        first, samples = drawn
        with torch.no_grad():
            images = to_tensor([each.target for each in samples] + [each.content for each in samples])
            latents, content = encode_latents(vae, images.to(device)).float().chunk(2)
        text, pooled = model.encode([each.caption for each in samples], tokenizer)
        seen = torch.tensor([[each.seen] for each in samples], device=device)
        conditions = Conditions(text=text, pooled=pooled, contents=[content], content_seen=seen)
        at = noised(FLOW, latents, seed=plan.seed, positions=range(first, first + len(samples)))
        return {"flow": flow_losses(denoiser, latents, conditions, at, guidance=1.0).mean()}

    result = fit(
        state,
        batch_at=lambda step: (step * batch, stream.samples_at(step, batch=batch)),
        losses_of=losses_of,
        plan=plan,
        checkpoint=work / "checkpoint.pt",
        log=MetricsLog(work / "metrics.jsonl"),
        on_save=on_save,
        device=device,
    )
    return state, result


def assemble(
    model: TextToImage, vae: PatchAutoencoder, vision: SiglipVisionModel, tokenizer: Any, *, seed: int = 0
) -> UsoPipeline:
    """The pipeline in half precision, with an untrained projector."""
    torch.manual_seed(seed)
    projector = StyleProjector(
        levels=LEVELS,
        vision_tokens=(VISION["image_size"] // VISION["patch_size"]) ** 2,
        vision_dim=VISION["hidden_size"],
        tokens_per_level=TOKENS_PER_LEVEL,
        hidden_dim=model.transformer.inner_dim,
        heads=VISION["num_attention_heads"],
    )
    copies = [_half_copy(module) for module in (model.transformer, vae, model.clip, model.t5, vision, projector)]
    transformer, half_vae, clip, t5, half_vision, half_projector = copies
    side = VISION["image_size"]
    return UsoPipeline(
        transformer=transformer,
        vae=half_vae,
        text_encoder=clip,
        tokenizer=tokenizer,
        text_encoder_2=t5,
        tokenizer_2=tokenizer,
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vision_encoder=half_vision,
        vision_processor=SiglipImageProcessor(size={"height": side, "width": side}),
        projector=half_projector,
        positions="aligned",
        content_px=64,
        size_px=64,
        max_text_tokens=T5_TOKENS,
    )


def _half_copy(module: Any) -> Any:
    """The same weights in half precision, apart from the module that goes on learning."""
    return copy.deepcopy(module).half().eval()


def _write_card(out: Path, data: EmojiData, parts: Mapping[str, FitResult], state: TrainState) -> None:
    facts: dict[str, str | int | float] = {
        "command": "`curate zoo build uso-base`",
        "parameters of the transformer and its text encoders": sum(each.numel() for each in state.model.parameters()),
        "steps": f"{state.step}, of batch {BATCH}",
        "seconds": round(state.seconds),
        "seed": PLAN.seed,
        "torch": torch.__version__,
    }
    for name, result in parts.items():
        facts[f"{name}: steps"] = result.step
        facts[f"{name}: seconds"] = round(result.seconds)
    write_card(
        out,
        title="uso-base: compact base for the USO trainer, 64 px",
        summary=_SUMMARY,
        sections={"Training": facts_table(facts), "Limits": _LIMITS, "Data": data_table(data)},
    )


_SUMMARY: Final = """
A `UsoPipeline` of FLUX's and SigLIP's classes at toy size. It draws emoji subjects in styles named in words, after a
content image if there is one. Its style projector is untrained: `curate train` teaches it style by example.
"""
_LIMITS: Final = """
It knows 64 px emoji and parametric styles only. Held-out subjects it draws after a content image, not by their names.
OpenMoji is CC BY-SA 4.0, Twemoji and EmojiOne are CC BY 4.0: name them where you pass weights or images on.
"""
