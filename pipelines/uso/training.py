"""What a USO training computes on one batch of triplets: latents, conditions with dropout, flow loss, style reward.

Stages (USO, arXiv 2508.18966, section 3.3):
    style_alignment   [style, text, target]: the projector learns, everything else is frozen
    disentanglement   [style, text, target, content]: the transformer learns, projector and VAE are frozen
    expert            as disentanglement, transformer and projector both: stylize and destylize experts on pairs
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn

from pipelines.data import Batch
from pipelines.uso.encoders import encode_latents, encode_prompts, vision_states
from pipelines.uso.flow import FlowConfig, flow_losses, noise_at, noised
from pipelines.uso.model import Conditions, UsoDenoiser
from pipelines.uso.pipeline import UsoPipeline
from pipelines.uso.reward import RewardConfig, StyleReward, gradient_step, rewards

Stage = Literal["style_alignment", "disentanglement", "expert"]


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The same batch with its tensors on a device."""
    return replace(
        batch,
        target=batch.target.to(device),
        content=batch.content.to(device),
        style=batch.style.to(device),
        drop_style=batch.drop_style.to(device),
        drop_content=batch.drop_content.to(device),
        drop_text=batch.drop_text.to(device),
    )


class Trained(nn.Module):
    """The parameters that a training changes, under their own names, and nothing else: what checkpoints hold.

    They are the model's own `Parameter` objects, so a step, an average put on and a checkpoint loaded all reach it.
    """

    def __init__(self, parameters: Iterator[tuple[str, nn.Parameter]]) -> None:
        super().__init__()
        for name, parameter in parameters:
            self.register_parameter(name.replace(".", "/"), parameter)


def freeze_all_but(pipeline: UsoPipeline, stage: Stage) -> None:
    """Set `requires_grad` as the stage wants it. LoRA layers, where there are any, learn instead of the weights."""
    for module in (pipeline.vae, pipeline.text_encoder, pipeline.text_encoder_2, pipeline.vision_encoder):
        if module is not None:
            module.requires_grad_(False).eval()
    lora = any("lora_" in name for name, _ in pipeline.transformer.named_parameters())
    learns = stage != "style_alignment"
    for name, parameter in pipeline.transformer.named_parameters():
        parameter.requires_grad_(learns and (not lora or "lora_" in name))
    if pipeline.projector is not None:
        pipeline.projector.requires_grad_(stage != "disentanglement")


def trainable(denoiser: UsoDenoiser) -> Iterator[tuple[str, nn.Parameter]]:
    """Names and parameters that learn."""
    return ((name, parameter) for name, parameter in denoiser.named_parameters() if parameter.requires_grad)


class UsoLosses:
    """Batch and step -> named losses. Frozen encoders run without gradient, in the order of the pipeline's `encode`."""

    def __init__(
        self,
        pipeline: UsoPipeline,
        denoiser: nn.Module,
        *,
        stage: Stage,
        flow: FlowConfig,
        seed: int,
        reward: RewardConfig | None = None,
        style_reward: StyleReward | None = None,
    ) -> None:
        if (reward is None) != (style_reward is None):
            raise ValueError("a reward config and a style reward go together")
        self.pipeline, self.denoiser, self.stage, self.flow, self.seed = pipeline, denoiser, stage, flow, seed
        self.reward, self.style_reward = reward, style_reward

    def __call__(self, batch: Batch, step: int) -> Mapping[str, Tensor]:
        """{"flow": L_flow} and from step S on {"reward": lambda L_SRL} (equation 6)."""
        with torch.no_grad():
            latents = encode_latents(self.pipeline.vae, batch.target)
            conditions = self.encode(batch)
        at = noised(self.flow, latents, seed=self.seed, positions=batch.positions)
        per_sample = flow_losses(self.denoiser, latents, conditions, at, guidance=self.flow.guidance)  # type: ignore[arg-type]
        losses = {"flow": per_sample.mean()}
        if self.reward is not None and self.reward.weight_at(step) > 0:
            losses["reward"] = self.reward.weight_at(step) * self._reward_loss(batch, latents, conditions, step)
        return losses

    def encode(self, batch: Batch) -> Conditions:
        """Conditions with dropout; a dropped reference is masked, which is exactly its absence."""
        pipeline = self.pipeline
        text, pooled = encode_prompts(
            ["" if drop else caption for caption, drop in zip(batch.captions, batch.drop_text.tolist(), strict=True)],
            clip=pipeline.text_encoder,
            clip_tokenizer=pipeline.tokenizer,
            t5=pipeline.text_encoder_2,
            t5_tokenizer=pipeline.tokenizer_2,
            max_tokens=pipeline.config.max_text_tokens,
        )
        contents, seen = [], []
        if self.stage != "style_alignment":
            contents.append(encode_latents(pipeline.vae, batch.content))
            seen.append(~batch.drop_content)
        states: list[list[Tensor]] = []
        if pipeline.config.style_encoding == "vae":
            contents.append(encode_latents(pipeline.vae, batch.style))
            seen.append(~batch.drop_style)
        else:
            pixels = pipeline.vision_processor(images=(batch.style.float() + 1) / 2, do_rescale=False)
            values = torch.stack(list(pixels.pixel_values)).to(batch.style.device)
            found = vision_states(pipeline.vision_encoder, values)
            states.append(pipeline.projector.pick(found))
        return Conditions(
            text=text,
            pooled=pooled,
            style_states=states,
            contents=contents,
            style_seen=_seen([~batch.drop_style]) if states else None,
            content_seen=_seen(seen),
        )

    def _reward_loss(self, batch: Batch, latents: Tensor, conditions: Conditions, step: int) -> Tensor:
        """L_SRL over the first `reward.batch` samples that have a style reference; 0 where none has."""
        assert self.reward is not None and self.style_reward is not None
        rows = torch.nonzero(~batch.drop_style)[:, 0][: self.reward.batch]
        if not len(rows):
            return latents.new_zeros(())
        positions = [batch.positions[row] for row in rows.tolist()]
        noise = noise_at(self.seed, positions, latents.shape[1:], "reward").to(latents.device)
        found = rewards(
            self.reward,
            self.denoiser,  # type: ignore[arg-type]
            self.pipeline.vae,
            self.style_reward,
            noise,
            take(conditions, rows),
            batch.style[rows],
            at=gradient_step(self.reward, seed=self.seed, step=step),
        )
        return -found.mean()


def take(conditions: Conditions, rows: Tensor) -> Conditions:
    """The conditions of some pictures of a batch."""
    return Conditions(
        text=conditions.text[rows],
        pooled=conditions.pooled[rows],
        style_states=[[state[rows] for state in states] for states in conditions.style_states],
        contents=[each[rows] for each in conditions.contents],
        style_seen=None if conditions.style_seen is None else conditions.style_seen[rows],
        content_seen=None if conditions.content_seen is None else conditions.content_seen[rows],
    )


def _seen(columns: Sequence[Tensor]) -> Tensor | None:
    """Columns (B,) -> bool (B, slots), or None where all is seen (then attention needs no mask)."""
    if not columns or all(bool(column.all()) for column in columns):
        return None
    return torch.stack(list(columns), dim=1)
