"""Training of the zoo's restyle expert: one network that stylizes after a reference and de-stylizes.

One step of regression (L1 and L1 of finite differences), no diffusion: the styles of the stream determine the target, so there is
nothing to sample, and a pass costs 6 ms an image on a CPU core.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from curate.zoo.data import EmojiData, load_emoji
from curate.zoo.restyle_data import KINDS, RestyleStream, Sample, collate
from pipelines.compact.network import StyleEncoder, build_unet, repaint
from pipelines.training import Ema, FitResult, MetricsLog, Plan, TrainState, fit

CHANNELS: Final = (64, 96, 128, 128)
PLAN: Final = Plan(steps=7000, peak_lr=8e-4, warmup=200, cooldown=0.3, save_every=250)
EDGE_WEIGHT: Final = 0.25


class Restyler(nn.Module):
    """U-Net and style encoder as one module: what the optimiser and the average see."""

    def __init__(self, channels: tuple[int, ...] = CHANNELS) -> None:
        super().__init__()
        self.unet = build_unet(channels)
        self.style_encoder = StyleEncoder(embed_dim=4 * channels[0])

    def forward(self, image: Tensor, reference: Tensor, task: Tensor) -> Tensor:
        """See `repaint`."""
        return repaint(self.unet, self.style_encoder, image, reference, task)


def losses_of(samples: Sequence[Sample], *, model: nn.Module) -> Mapping[str, Tensor]:
    """L1 to the truth, L1 of its horizontal and vertical differences; the parts by kind are for the log only (no gradient)."""
    batch = collate(samples)
    error = model(batch.image, batch.reference, batch.task).float() - batch.target
    across = (error[..., 1:] - error[..., :-1]).abs().mean()
    down = (error[..., 1:, :] - error[..., :-1, :]).abs().mean()
    return {"l1": error.abs().mean(), "edge": EDGE_WEIGHT * (across + down)}


def fresh_state(plan: Plan, *, channels: tuple[int, ...] = CHANNELS) -> TrainState:
    """An untrained network, its optimiser and average."""
    torch.manual_seed(plan.seed)
    model = Restyler(channels).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(model.parameters(), lr=plan.peak_lr, weight_decay=0.01, foreach=True)
    return TrainState(model=model, optimizer=optimizer, ema=Ema(model, decay=0.998))


def train(work: Path, *, plan: Plan = PLAN, data: EmojiData | None = None, channels: tuple[int, ...] = CHANNELS) -> FitResult:
    """Train, or go on training, with checkpoint and log in `work`."""
    stream = RestyleStream(data or load_emoji(), seed=plan.seed)
    state = fresh_state(plan, channels=channels)
    return fit(
        state,
        batch_at=stream.samples_at,
        losses_of=functools.partial(losses_of, model=state.model),
        plan=plan,
        checkpoint=work / "checkpoint.pt",
        log=MetricsLog(work / "metrics.jsonl"),
    )
