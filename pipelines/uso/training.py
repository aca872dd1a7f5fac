"""What a USO training computes on one batch of triplets: conditions with dropout, flow loss, style reward.

Stages (USO, arXiv 2508.18966, section 3.3):
    style_alignment   [style, text, target]: the projector learns, everything else is frozen
    disentanglement   [style, text, target, content]: the transformer learns, projector and VAE are frozen
    expert            as disentanglement, transformer and projector both: stylize and destylize experts on pairs, by
                      `data.roles`
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from pipelines.data import Batch, RolesConfig
from pipelines.training import Group
from pipelines.uso.features import Encoders, Features
from pipelines.uso.flow import FlowConfig, flow_losses, noise_at, noised
from pipelines.uso.model import Conditions, UsoDenoiser
from pipelines.uso.pipeline import UsoPipeline
from pipelines.uso.reward import RewardConfig, StyleReward, gradient_step, rewards
from pipelines.uso.rewarded import ChosenRows, chosen_rows, reward_rows

Stage = Literal["style_alignment", "disentanglement", "expert"]
USUAL_ROLES = RolesConfig()


class Trained(nn.Module):
    """The parameters that a training changes, under their own names, and nothing else: what checkpoints hold.

    They are the model's own `Parameter` objects, so a step, an average put on and a checkpoint loaded all reach it.
    """

    def __init__(self, parameters: Iterator[tuple[str, nn.Parameter]]) -> None:
        super().__init__()
        for name, parameter in parameters:
            self.register_parameter(name.replace(".", "/"), parameter)


def freeze_all_but(pipeline: UsoPipeline, stage: Stage, *, with_style: bool = True) -> None:
    """Set `requires_grad` as the stage wants it. LoRA layers, where there are any, learn instead of the weights; in a
    training without style references the projector has nothing to learn from."""
    for module in (pipeline.vae, pipeline.text_encoder, pipeline.text_encoder_2, pipeline.vision_encoder):
        if module is not None:
            module.requires_grad_(False).eval()
    lora = any("lora_" in name for name, _ in pipeline.transformer.named_parameters())
    learns = stage != "style_alignment"
    for name, parameter in pipeline.transformer.named_parameters():
        parameter.requires_grad_(learns and (not lora or "lora_" in name))
    if pipeline.projector is not None:
        pipeline.projector.requires_grad_(with_style and stage != "disentanglement")


def trainable(denoiser: UsoDenoiser) -> Iterator[tuple[str, nn.Parameter]]:
    """Names and parameters that learn."""
    return ((name, parameter) for name, parameter in denoiser.named_parameters() if parameter.requires_grad)


class Drawn(Protocol):
    """What a batch says of its samples besides their pixels: see `pipelines.data.Batch`."""

    @property
    def drop_style(self) -> Tensor: ...
    @property
    def drop_content(self) -> Tensor: ...
    @property
    def drop_text(self) -> Tensor: ...
    @property
    def positions(self) -> list[int]: ...


class UsoLosses:
    """Batch and step -> named losses. `denoiser` is the pipeline's own or a wrapper of it (compiled, data-parallel)."""

    def __init__(
        self,
        pipeline: UsoPipeline,
        denoiser: nn.Module,
        *,
        stage: Stage,
        flow: FlowConfig,
        seed: int,
        roles: RolesConfig = USUAL_ROLES,
        reward: RewardConfig | None = None,
        style_reward: StyleReward | None = None,
        group: Group | None = None,
    ) -> None:
        if (reward is None) != (style_reward is None):
            raise ValueError("a reward config and a style reward go together")
        self.pipeline, self.denoiser, self.stage, self.flow, self.seed = pipeline, denoiser, stage, flow, seed
        self.reward, self.style_reward, self.group = reward, style_reward, group or Group()
        self.rewarded: list[Tensor] = []
        with_content = stage != "style_alignment" and roles.content is not None
        self.encoders = Encoders(pipeline, with_content=with_content, with_style=roles.style is not None)

    def __call__(self, batch: Batch, step: int) -> Mapping[str, Tensor]:
        """{"flow": L_flow} and from step S on {"reward_loss": lambda L_SRL} (equation 6). The batch is on the device.

        A sample's loss is its flow loss and, where it has a style reference, minus lambda times its reward; with
        `reward.batch` = k the rewards are those of the first k samples with a style reference of all members' batches,
        and their mean is over k. So neither the number of members nor how an update is cut into batches changes lambda.
        """
        rows = reward_rows(self.reward, batch.drop_style, step, members=self.group.world)
        styles = batch.style[rows] if rows and batch.style is not None else None
        return self.of(self.encoders(batch), batch, step, styles=styles)

    def of(self, features: Features, drawn: Drawn, step: int, *, styles: Tensor | None) -> Mapping[str, Tensor]:
        """The same from features of the batch and the style pixels (R, 3, S, S) of its `reward_rows`, if any."""
        (latents,) = features["target"]
        conditions = self.conditions(features, drawn)
        at = noised(self.flow, latents, seed=self.seed, positions=drawn.positions)
        per_sample = flow_losses(self.denoiser, latents, conditions, at, guidance=self.flow.guidance)  # type: ignore[arg-type]
        losses = {"flow": per_sample.mean()}
        if self.reward is not None and (weight := self.reward.weight_at(step)) > 0:
            losses["reward_loss"] = weight * self._reward_loss(latents, conditions, drawn, styles, step)
        return losses

    def numbers(self) -> dict[str, float]:
        """{"reward": R}, the mean over what was rewarded in all members since this was last asked, if anything was."""
        sums = torch.stack(self.rewarded).sum(dim=0) if self.rewarded else torch.zeros(2)
        self.rewarded = []
        found = self.group.mean({"sum": sums[0], "rows": sums[1]}, self.pipeline.vae.device)
        return {"reward": found["sum"] / found["rows"]} if found["rows"] else {}

    def conditions(self, features: Features, drawn: Drawn) -> Conditions:
        """Conditions with dropout; a dropped reference is masked, which is exactly its absence."""
        pipeline = self.pipeline
        (latents,) = features["target"]
        size, device = (latents.shape[-2], latents.shape[-1]), latents.device
        dtype = pipeline.transformer.x_embedder.weight.dtype
        drop = drawn.drop_text.to(device)
        text, pooled = (
            torch.where(drop.view(-1, *[1] * (given.ndim - 1)), blank, given).to(dtype)
            for blank, given in zip(self.encoders.blank(), features["text"], strict=True)
        )
        contents, seen = [], []
        if "content" in features:
            contents.append(features["content"][0].to(dtype))
            seen.append(~drawn.drop_content)
        states: list[list[Tensor]] = []
        tokens: list[Tensor] = []
        if "style" in features and pipeline.config.style_encoding == "vae":
            contents.append(features["style"][0].to(dtype))
            seen.append(~drawn.drop_style)
        elif "style" in features and self.encoders.projects:
            tokens.append(features["style"][0].to(dtype))
        elif "style" in features:
            states.append([state.to(pipeline.projector.dtype) for state in features["style"]])
        return Conditions(
            text=text,
            pooled=pooled,
            style_states=states,
            style_tokens=tokens,
            contents=contents,
            style_seen=_seen([~drawn.drop_style], device) if states or tokens else None,
            content_seen=_seen(seen, device),
            absent_content=None if "content" in features else pipeline.absent_content(size),
        )

    def _reward_loss(
        self, latents: Tensor, conditions: Conditions, drawn: Drawn, styles: Tensor | None, step: int
    ) -> Tensor:
        """This member's share of L_SRL, such that the mean over members is the whole; 0 where nothing is rewarded."""
        assert self.reward is not None and self.style_reward is not None
        chosen = chosen_rows(drawn.drop_style.to(latents.device), self.reward.batch, self.group)
        if not chosen.all_members or styles is None:
            return latents.new_zeros(())
        rows = chosen.own or [0]
        noise = noise_at(self.seed, [drawn.positions[each] for each in rows], latents.shape[1:], "reward")
        of_rows, styles = take(conditions, torch.tensor(rows, device=latents.device)), styles[: len(rows)]
        if self.reward.recombine:
            of_rows, styles = self._with_next_style(of_rows, chosen), chosen.next_of(styles)
        found = rewards(
            self.reward,
            self.denoiser,  # type: ignore[arg-type]
            self.pipeline.vae,
            self.style_reward,
            noise.to(latents.device),
            of_rows,
            styles,
            at=gradient_step(self.reward, seed=self.seed, step=step),
        )
        counted = found.new_full(found.shape, 1.0 if chosen.own else 0.0)
        sum_of = (found * counted).sum()
        self.rewarded.append(torch.stack([sum_of.detach(), counted.sum()]))
        whole = len(drawn.positions) * self.group.world
        return -sum_of * self.group.world / min(self.reward.batch or whole, whole)

    def _with_next_style(self, conditions: Conditions, chosen: ChosenRows) -> Conditions:
        """Each picture with the style reference of the one after it, the last with that of the first. All have one."""
        if self.pipeline.config.style_encoding == "vae":
            *contents, style = conditions.contents
            return replace(conditions, contents=[*contents, chosen.next_of(style)])
        states = [[chosen.next_of(state) for state in states] for states in conditions.style_states]
        tokens = [chosen.next_of(each) for each in conditions.style_tokens]
        return replace(conditions, style_states=states, style_tokens=tokens)


def take(conditions: Conditions, rows: Tensor) -> Conditions:
    """The conditions of some pictures of a batch."""
    return Conditions(
        text=conditions.text[rows],
        pooled=conditions.pooled[rows],
        style_states=[[state[rows] for state in states] for states in conditions.style_states],
        style_tokens=[each[rows] for each in conditions.style_tokens],
        contents=[each[rows] for each in conditions.contents],
        style_seen=None if conditions.style_seen is None else conditions.style_seen[rows],
        content_seen=None if conditions.content_seen is None else conditions.content_seen[rows],
        absent_content=conditions.absent_content,
    )


def _seen(columns: Sequence[Tensor], device: torch.device) -> Tensor | None:
    """Columns (B,) -> bool (B, slots), or None where all is seen (then attention needs no mask)."""
    if not columns or all(bool(column.all()) for column in columns):
        return None
    return torch.stack(list(columns), dim=1).to(device)
