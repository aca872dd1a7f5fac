"""Build the restyle expert: one network that stylizes after a reference and de-stylizes.

    curate zoo build restyle        about 8 hours on one CPU core, 13.4 MB

One step of regression (L1 and L1 of finite differences), no diffusion: the styles of the stream determine the
target, so there is nothing to sample. The style encoder has a teacher of its own, see `curate.zoo.style_labels`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from curate.zoo.card import data_table, facts_table, write_card
from curate.zoo.data import EmojiData, load_emoji
from curate.zoo.restyle_cases import plain_all
from curate.zoo.restyle_data import RestyleStream, Sample, collate
from curate.zoo.restyle_reader import READ_PLAN, learn_to_read, reading_losses, told
from curate.zoo.style_labels import VALUES, num_choices
from pipelines.compact.network import IMAGE_PX, WHOLE, StyleEncoder, Window, build_unet, paint
from pipelines.compact.pipeline import RestylePipeline
from pipelines.training import Ema, FitResult, MetricsLog, Plan, TrainState, fit, training_device

CHANNELS: Final = (48, 64, 96, 128)
PLAN: Final = Plan(steps=27_000, peak_lr=1e-3, warmup=200, cooldown=0.5, save_every=500, log_every=100)
EDGE_WEIGHT: Final = 0.25
CHOICE_WEIGHT: Final = 0.03  # cross-entropies start at 7.3 in all, the image's L1 at 0.5
VALUE_WEIGHT: Final = 0.1
WINDOW_PX: Final = 32  # what the U-Net paints of a picture in the first WINDOWED of the steps: a quarter of the cost
WINDOWED: Final = 2 / 3  # then whole pictures, because group norms see other statistics there
TRUTH_CHANCE: Final = 0.5  # how often the U-Net is told the style's labels instead of the reading


class Restyler(nn.Module):
    """U-Net and style encoder as one module: what the optimiser and the average see."""

    def __init__(self, channels: tuple[int, ...] = CHANNELS, *, num_sets: int = 9) -> None:
        super().__init__()
        self.unet = build_unet(channels)
        self.style_encoder = StyleEncoder(
            embed_dim=4 * channels[0], num_choices=num_choices(num_sets), num_values=VALUES
        )


def known_colours(stream: RestyleStream, num_colours: int) -> dict[str, Tensor]:
    """State of the encoder's `Palettes`: the commonest colours of each training set's drawings, and what share of its
    pixels has each."""
    colours = torch.ones(len(stream.sets), num_colours, 3)
    shares = torch.zeros(len(stream.sets), num_colours)
    for place, which in enumerate(stream.sets):
        pixels = plain_all(stream.data, stream.by_set[which]).reshape(-1, 3)
        found, counts = np.unique(pixels, axis=0, return_counts=True)
        first = counts.argsort(kind="stable")[::-1][:num_colours]
        colours[place, : len(first)] = torch.from_numpy(found[first]).float() / 127.5 - 1
        shares[place, : len(first)] = torch.from_numpy(counts[first] / len(pixels)).float()
    return {"colours": colours, "shares": shares}


def windows(rng: np.random.Generator) -> Window:
    """A window of WINDOW_PX, anywhere on the U-Net's grid."""
    places = (IMAGE_PX - WINDOW_PX) // 16 + 1
    top, left = (16 * int(place) for place in rng.integers(places, size=2))
    return Window(top, left, WINDOW_PX)


def losses_of(samples: Sequence[Sample], *, model: Restyler, window: Window = WHOLE) -> Mapping[str, Tensor]:
    """L1 to the truth, L1 of its horizontal and vertical differences, and how well the encoder reads its references."""
    device = model.unet.device
    batch = collate(samples).to(device)
    labels = batch.labels
    known = torch.from_numpy(labels.known).to(device)
    reading = model.style_encoder.read(batch.reference)
    tell = known & (torch.rand(len(known), device=device) < TRUTH_CHANCE)
    condition = torch.where(tell[:, None], told(reading, labels), reading.condition())
    embedding, recolouring = model.style_encoder.embed(condition)
    drawn = paint(model.unet, batch.image, batch.reference, batch.task, embedding, recolouring, window=window)
    error = drawn.float() - window.of(batch.target)
    across = (error[..., 1:] - error[..., :-1]).abs().mean()
    down = (error[..., 1:, :] - error[..., :-1, :]).abs().mean()
    read = reading_losses(reading, labels)
    return {
        "l1": error.abs().mean(),
        "edge": EDGE_WEIGHT * (across + down),
        "choices": CHOICE_WEIGHT * read["choices"],
        "values": VALUE_WEIGHT * read["values"],
    }


def fresh_state(plan: Plan, *, channels: tuple[int, ...] = CHANNELS, num_sets: int = 9) -> TrainState:
    """An untrained network and its optimiser; the same for the same plan."""
    torch.manual_seed(plan.seed)
    model = Restyler(channels, num_sets=num_sets).to(training_device())
    model = model.to(memory_format=torch.channels_last)
    parameters = model.parameters()
    optimizer = torch.optim.AdamW(parameters, lr=plan.peak_lr, betas=(0.9, 0.99), weight_decay=0.01, foreach=True)
    return TrainState(model=model, optimizer=optimizer)


def build(
    out: Path,
    work: Path,
    *,
    plan: Plan = PLAN,
    reading: Plan = READ_PLAN,
    data: EmojiData | None = None,
    channels: tuple[int, ...] = CHANNELS,
) -> FitResult:
    """Train (or go on training) in `work`, first the encoder's reading, then all; at every save of the latter the
    averaged weights and their card go to the folder `out`."""
    data = data or load_emoji()
    stream = RestyleStream(data, seed=plan.seed)
    state = fresh_state(plan, channels=channels, num_sets=len(stream.sets))
    model = state.model
    assert isinstance(model, Restyler)
    encoder = model.style_encoder
    encoder.palettes.load_state_dict(known_colours(stream, encoder.config.num_colours))
    read = learn_to_read(encoder, stream, work, plan=reading)
    if not read.finished:
        return read
    state.ema = Ema(model, decay=0.998)  # from what reading has learned
    log = MetricsLog(work / "metrics.jsonl")

    def ship(state: TrainState) -> None:
        export(state, out, channels=channels)
        write_restyle_card(state, out, plan=plan, data=data, log=log)

    def batch_at(step: int) -> tuple[list[Sample], Window]:
        window = windows(np.random.default_rng([plan.seed, 3, step])) if step < WINDOWED * plan.steps else WHOLE
        return stream.samples_at(step), window

    return fit(
        state,
        batch_at=batch_at,
        losses_of=lambda batch: losses_of(batch[0], model=model, window=batch[1]),
        plan=plan,
        checkpoint=work / "checkpoint.pt",
        log=log,
        on_save=ship,
        device=model.unet.device,
    )


def export(state: TrainState, out: Path, *, channels: tuple[int, ...] = CHANNELS) -> None:
    """Write the averaged weights as a `RestylePipeline` folder in fp16 (`from_pretrained` loads it)."""
    assert state.ema is not None
    assert isinstance(state.model, Restyler)
    copy = Restyler(channels, num_sets=state.model.style_encoder.config.num_choices[0])
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
