"""How good a model is on fixed triplets: flow loss at fixed noise levels, and the style of pictures that it makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import correlation

import torch
from torch import Tensor

from pipelines.data import Batch
from pipelines.uso.features import Features, moved
from pipelines.uso.flow import Noised, flow_losses, noise_at
from pipelines.uso.portions import portions
from pipelines.uso.reward import StyleReward
from pipelines.uso.style_statistics import style_similarity
from pipelines.uso.training import UsoLosses

REWARD, STYLE = "val_reward", "val_style"
STEADY = 0.8


class FlowValidation:
    """`val_flow` and `val_flow_<level>`: mean squared error of the velocity, nothing dropped, the same noise each time.

    Features are made once, and kept in the host's memory.
    """

    def __init__(self, losses: UsoLosses, batches: Sequence[Batch], levels: Sequence[float]) -> None:
        self.losses, self.levels = losses, levels
        self.batches = [_whole(batch) for batch in batches]
        self.features: list[Features] = []

    @torch.no_grad()
    def __call__(self, device: torch.device) -> dict[str, float]:
        """Means over all samples."""
        if not self.features:
            cpu = torch.device("cpu")
            self.features = [moved(self.losses.encoders(batch.to(device)), cpu) for batch in self.batches]
        found = torch.cat([self._batch(*each, device) for each in zip(self.batches, self.features, strict=True)])
        by_level = {f"val_flow_{level:g}": float(found[:, place].mean()) for place, level in enumerate(self.levels)}
        return {"val_flow": float(found.mean()), **by_level}

    def _batch(self, batch: Batch, features: Features, device: torch.device) -> Tensor:
        """(B, levels)."""
        features = moved(features, device)
        latents = features["target"][0].float()
        conditions = self.losses.conditions(features, batch)
        noise = noise_at(self.losses.seed, batch.positions, latents.shape[1:], "validation").to(device)
        denoiser, guidance = self.losses.pipeline.denoiser, self.losses.flow.guidance
        columns = []
        for level in self.levels:
            at = Noised(latents.new_full((len(latents),), level), noise, (1 - level) * latents + level * noise)
            columns.append(flow_losses(denoiser, latents, conditions, at, guidance=guidance))
        return torch.stack(columns, dim=1).cpu()


@torch.no_grad()
def style_numbers(
    losses: UsoLosses, pictures: Sequence[Tensor], styles: Tensor, reward: StyleReward | None
) -> dict[str, float]:
    """Of pictures (3, H, W), each of its own size, and their style references (B, 3, S, S): the means `val_style`,
    which no loss knows, and beside it `val_reward`, where a reward is trained on."""
    found: dict[str, list[Tensor]] = {STYLE: []} if reward is None else {STYLE: [], REWARD: []}
    for rows in portions([((each.shape[-2], each.shape[-1]),) for each in pictures]):
        some, wanted = torch.stack([pictures[row] for row in rows]), styles[rows]
        found[STYLE].append(style_similarity(losses.pipeline, some, wanted))
        if reward is not None:
            found[REWARD].append(reward(some, wanted))
    return {name: float(torch.cat(values).mean()) for name, values in found.items()}


def hacked(validations: Sequence[Mapping[str, float]], *, start_step: int, window: int) -> bool:
    """Whether over the last `window` validations the reward rose and the independent number fell, both steadily: their
    correlations with the order are at least 0.8 and at most -0.8.

    Validations before the reward's first step do not count: then nothing descends on it.
    """
    counted = [each for each in validations if REWARD in each and STYLE in each and each["step"] >= start_step]
    last = counted[-window:]
    if len(last) < window:
        return False
    return _trend([each[REWARD] for each in last]) >= STEADY and _trend([each[STYLE] for each in last]) <= -STEADY


def _trend(values: Sequence[float]) -> float:
    """Correlation with the order, 0 for values that are all equal."""
    return 0.0 if len(set(values)) == 1 else correlation(range(len(values)), values)


def _whole(batch: Batch) -> Batch:
    """The same samples with nothing dropped."""
    none = torch.zeros_like(batch.drop_style)
    return replace(batch, drop_style=none, drop_content=none, drop_text=none)
