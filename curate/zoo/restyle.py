"""Build the restyle expert: one network that stylizes after a reference and de-stylizes.

    curate zoo build restyle        about 35 minutes on one CPU core at 36 images/s, 12.5 MB

One step of regression (L1 and L1 of finite differences), no diffusion: the styles of the stream determine the
target, so there is nothing to sample, and a pass costs 16 ms an image on a CPU core.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from curate.zoo.card import data_table, facts_table, write_card
from curate.zoo.data import EmojiData, load_emoji
from curate.zoo.restyle_data import RestyleStream, Sample, collate
from pipelines.compact.network import StyleEncoder, build_unet, repaint
from pipelines.compact.pipeline import RestylePipeline
from pipelines.training import Ema, FitResult, MetricsLog, Plan, TrainState, fit

CHANNELS: Final = (64, 96, 128, 128)
PLAN: Final = Plan(steps=4600, peak_lr=1e-3, warmup=200, cooldown=0.3, save_every=500, log_every=100)
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
    """L1 to the truth, and L1 of its horizontal and vertical differences."""
    batch = collate(samples)
    error = model(batch.image, batch.reference, batch.task).float() - batch.target
    across = (error[..., 1:] - error[..., :-1]).abs().mean()
    down = (error[..., 1:, :] - error[..., :-1, :]).abs().mean()
    return {"l1": error.abs().mean(), "edge": EDGE_WEIGHT * (across + down)}


def fresh_state(plan: Plan, *, channels: tuple[int, ...] = CHANNELS) -> TrainState:
    """An untrained network, its optimiser and average; the same for the same plan."""
    torch.manual_seed(plan.seed)
    model = Restyler(channels).to(memory_format=torch.channels_last)
    parameters = model.parameters()
    optimizer = torch.optim.AdamW(parameters, lr=plan.peak_lr, betas=(0.9, 0.99), weight_decay=0.01, foreach=True)
    return TrainState(model=model, optimizer=optimizer, ema=Ema(model, decay=0.998))


def build(
    out: Path,
    work: Path,
    *,
    plan: Plan = PLAN,
    data: EmojiData | None = None,
    channels: tuple[int, ...] = CHANNELS,
) -> FitResult:
    """Train (or go on training) in `work`; at every save the averaged weights and their card go to the folder `out`."""
    data = data or load_emoji()
    stream = RestyleStream(data, seed=plan.seed)
    state = fresh_state(plan, channels=channels)
    log = MetricsLog(work / "metrics.jsonl")

    def ship(state: TrainState) -> None:
        export(state, out, channels=channels)
        write_restyle_card(state, out, plan=plan, data=data, log=log)

    return fit(
        state,
        batch_at=stream.samples_at,
        losses_of=functools.partial(losses_of, model=state.model),
        plan=plan,
        checkpoint=work / "checkpoint.pt",
        log=log,
        on_save=ship,
    )


def export(state: TrainState, out: Path, *, channels: tuple[int, ...] = CHANNELS) -> None:
    """Write the averaged weights as a `RestylePipeline` folder in fp16 (`from_pretrained` loads it)."""
    assert state.ema is not None
    copy = Restyler(channels)
    with state.ema.applied(state.model):
        copy.load_state_dict(state.model.state_dict())
    pipeline = RestylePipeline(unet=copy.unet.half(), style_encoder=copy.style_encoder.half())
    pipeline.save_pretrained(out)


def write_restyle_card(state: TrainState, out: Path, *, plan: Plan, data: EmojiData, log: MetricsLog) -> None:
    """The card of what `export` wrote. `evaluate_restyle` puts its figures under Evaluation."""
    latest = log.read()[-1]
    facts: dict[str, str | int | float] = {
        "command": "`curate zoo build restyle`",
        "parameters": sum(parameter.numel() for parameter in state.model.parameters()),
        "steps": f"{state.step} of {plan.steps}",
        "images": state.step * RestyleStream.batch,
        "seconds": round(state.seconds),
        "peak learning rate": plan.peak_lr,
        "seed": plan.seed,
        "L1 in training, latest mean": latest["l1"],
        "torch": torch.__version__,
    }
    write_card(
        out,
        title="restyle: compact stylize and destylize expert, 64 px",
        summary=_SUMMARY,
        sections={
            "Training": facts_table(facts),
            "Data": data_table(data) + "\n\n" + _LICENCES,
            "Evaluation": "Not yet evaluated: `curate zoo eval restyle`.",
        },
    )


_SUMMARY: Final = """
One conv U-Net and a style encoder, a diffusers `RestylePipeline`. `task="stylize"` draws the content image in the
style of the style image; `task="destylize"` draws a stylized image plainly, over white. Trained on emoji sets and
parametric styles by regression, one pass an image. It knows colours, papers, patterns, contours and the looks of the
training sets; it invents no shapes and no layouts.
"""
_LICENCES: Final = """
The weights learned from all sets in training. OpenMoji is CC BY-SA 4.0, Twemoji and EmojiOne are CC BY 4.0: name them
where you pass the weights or their images on. No artwork is part of this folder.
"""
