"""The palette beside the compact CSD's ViT: which sets share colours and edges, also sets that no training saw.

Same loss as the ViT's, over sets and over sets in other colours, never over painted styles: those lie over drawings of
all sets, and a network that must call them one style learns to overlook palettes (LOG.md). Half of the other colours
are near a set's own: two hands differ by little.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from curate.zoo.contrast import multi_positive_nce
from curate.zoo.data import EmojiData
from curate.zoo.factorial import Labelled, Mix, draw_batch, training_sets
from filters.palette import Palette
from pipelines.training import Ema, FitResult, MetricsLog, Plan, TrainState, fit, training_device

PLAN: Final = Plan(steps=1200, peak_lr=1e-3, warmup=50, cooldown=0.5, seed=13, save_every=200)
MIX: Final = Mix(plain=9, per_plain=6, painted=0, recoloured=14, per_recoloured=5, nudged=0.5)
TEMPERATURE: Final = 0.1


def train_palette(work: Path, data: EmojiData, *, dim: int, plan: Plan = PLAN) -> tuple[Palette, FitResult]:
    """Train (or go on training) in ``work``; the averaged weights."""
    torch.manual_seed(plan.seed)
    device = training_device()
    palette = Palette(dim).to(device)
    ema = Ema(palette, decay=0.99)
    optimiser = torch.optim.AdamW(palette.parameters(), lr=plan.peak_lr, weight_decay=0.05)
    subjects, sets = np.flatnonzero(~data.heldout_subjects), training_sets(data)

    def batch_at(step: int) -> Labelled:
        return draw_batch(data, np.random.default_rng([plan.seed, step]), subjects=subjects, sets=sets, mix=MIX)

    def losses_of(batch: Labelled) -> Mapping[str, Tensor]:
        images = torch.from_numpy(batch.images).permute(0, 3, 1, 2).float().to(device) / 255
        vectors = functional.normalize(palette(images), dim=1)
        return {"palette": multi_positive_nce(vectors, torch.from_numpy(batch.style).to(device),
                                              temperature=TEMPERATURE)}

    palette.train()
    result = fit(
        TrainState(palette, optimiser, ema),
        batch_at=batch_at,
        losses_of=losses_of,
        plan=plan,
        checkpoint=work / "checkpoint.pt",
        log=MetricsLog(work / "metrics.jsonl"),
        device=device,
    )
    ema.put_on(palette)
    return palette.eval(), result
