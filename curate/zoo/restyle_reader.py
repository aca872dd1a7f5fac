"""Teach the restyle expert's style encoder to read, before any picture is painted after what it says.

What a reading gets wrong the painting cannot mend: told the truth instead, the same U-Net made a fifth less error
(LOG.md). Beside the painting's errors those of reading weigh little, so it is learned first, on pictures of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from curate.parametric import apply_style, plain, sample_style
from curate.zoo.restyle_data import RestyleStream, to_float
from curate.zoo.style_labels import StyleLabels, label
from pipelines.compact.network import Reading, StyleEncoder
from pipelines.training import Ema, FitResult, MetricsLog, Plan, TrainState, fit

READ_PLAN: Final = Plan(steps=19_500, peak_lr=1e-3, warmup=200, cooldown=0.6, save_every=500, log_every=100)
BATCH: Final = 64
READER: Final = "reader.pt"
STANDARD_BATCHES: Final = 16
AS_DRAWN_CHANCE: Final = 0.1
CHOICE_WEIGHT: Final = 0.25  # of the parameters' error
UNUSED_WEIGHT: Final = 0.25

Pictures: TypeAlias = tuple[Tensor, StyleLabels]  # float32 (BATCH, 3, 64, 64) in [-1, 1], and what is true of them


def pictures_at(stream: RestyleStream, step: int) -> Pictures:
    """Pictures of the training subjects and sets in styles of any parameters: a function of (seed, step)."""
    rng = np.random.default_rng([stream.seed, 4, step])
    images, styles, drawn_by = [], [], []
    for _ in range(BATCH):
        which = int(rng.choice(stream.sets, p=stream.set_shares))
        drawing = stream.drawing(rng, stream.by_set[which])
        style = None if rng.random() < AS_DRAWN_CHANCE else sample_style(rng)
        images.append(plain(drawing) if style is None else apply_style(style, drawing))
        styles.append(style)
        drawn_by.append(stream.sets.index(which))
    return to_float(np.stack(images)), label(styles, drawn_by, [True] * BATCH)


def reading_losses(reading: Reading, labels: StyleLabels) -> Mapping[str, Tensor]:
    """Cross-entropies of the choices, summed, and L1 of the parameters that the styles have and, lightly, of the
    others, each as of its true family; of those readings whose labels hold."""
    device = reading.rest.device
    known, choices, values, used = (
        torch.from_numpy(each).to(device) for each in (labels.known, labels.choices, labels.values, labels.used)
    )
    named = [F.cross_entropy(logits[known], choices[known, place]) for place, logits in enumerate(reading.choices)]
    error, used = (reading.values_of(choices) - values)[known].abs(), used[known]
    return {
        "choices": torch.stack(named).sum(),
        "values": (error * used).sum() / used.sum().clamp(min=1) + UNUSED_WEIGHT * (error * ~used).mean(),
    }


def told(reading: Reading, labels: StyleLabels) -> Tensor:
    """The condition with what the labels say in place of what was read; the rest stays as read."""
    device = reading.rest.device
    choices, values = (torch.from_numpy(each).to(device) for each in (labels.choices, labels.values))
    named = [F.one_hot(choices[:, place], logits.shape[1]) for place, logits in enumerate(reading.choices)]
    return torch.cat([*named, values, reading.rest], dim=1)


def learn_to_read(encoder: StyleEncoder, stream: RestyleStream, work: Path, *, plan: Plan = READ_PLAN) -> FitResult:
    """Train (or go on training) the encoder's reading in `work`; it ends with the averaged weights."""
    if not (work / READER).is_file():
        seen = [pictures_at(stream, step)[0] for step in range(STANDARD_BATCHES)]
        encoder.standardise(torch.cat(seen).to(encoder.device))
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=plan.peak_lr, betas=(0.9, 0.99), weight_decay=0.01)
    state = TrainState(model=encoder, optimizer=optimizer, ema=Ema(encoder, decay=0.998))
    result = fit(
        state,
        batch_at=lambda step: pictures_at(stream, step),
        losses_of=lambda pictures: _losses(encoder, pictures),
        plan=plan,
        checkpoint=work / READER,
        log=MetricsLog(work / "reader.jsonl"),
        device=encoder.device,
    )
    assert state.ema is not None
    state.ema.put_on(encoder)
    return result


def _losses(encoder: StyleEncoder, pictures: Pictures) -> Mapping[str, Tensor]:
    images, labels = pictures
    losses = reading_losses(encoder.read(images.to(encoder.device)), labels)
    return {"choices": CHOICE_WEIGHT * losses["choices"], "values": losses["values"]}
