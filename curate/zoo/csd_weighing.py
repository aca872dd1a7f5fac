"""How much the compact CSD's palette weighs beside its ViT, image by image.

Exact colours tell drawing sets apart, also unseen ones; in a parametric style they are the style's and the subject's
together, and the ViT knows better. Both parts stay as they are; only the weighing is learned, by their own loss over
plain, recoloured and painted drawings together.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from curate.zoo.clip_pixels import clip_pixels
from curate.zoo.contrast import multi_positive_nce
from curate.zoo.data import EmojiData
from curate.zoo.factorial import Labelled, Mix, draw_batch, training_sets
from filters.csd_network import CsdNetwork
from pipelines.training import FitResult, MetricsLog, Plan, TrainState, fit, training_device

PLAN: Final = Plan(steps=300, peak_lr=1e-2, warmup=20, cooldown=0.5, seed=17, save_every=100)
MIX: Final = Mix(plain=9, per_plain=6, painted=14, per_painted=4, recoloured=4, per_recoloured=5)
TEMPERATURE: Final = 0.1


def train_weighing(work: Path, network: CsdNetwork, data: EmojiData, *, plan: Plan = PLAN) -> FitResult:
    """Train (or go on training) the weighing of a network with a palette, in place."""
    assert network.weighing is not None
    device = training_device()
    network.to(device).eval().requires_grad_(False)
    network.weighing.requires_grad_(True)
    optimiser = torch.optim.AdamW(network.weighing.parameters(), lr=plan.peak_lr, weight_decay=0.01)
    subjects, sets = np.flatnonzero(~data.heldout_subjects), training_sets(data)

    def batch_at(step: int) -> Labelled:
        return draw_batch(data, np.random.default_rng([plan.seed, step]), subjects=subjects, sets=sets, mix=MIX)

    def losses_of(batch: Labelled) -> Mapping[str, Tensor]:
        vectors = network(clip_pixels(batch.images).to(device)).style
        labels = torch.from_numpy(batch.style).to(device)
        return {"style": multi_positive_nce(vectors, labels, temperature=TEMPERATURE)}

    result = fit(
        TrainState(network.weighing, optimiser, None),
        batch_at=batch_at,
        losses_of=losses_of,
        plan=plan,
        checkpoint=work / "checkpoint.pt",
        log=MetricsLog(work / "metrics.jsonl"),
        device=device,
    )
    network.cpu()
    return result
