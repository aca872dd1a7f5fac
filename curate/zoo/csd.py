"""Build the compact CSD model: a 2.8 M ViT with a palette beside it tells styles apart, whatever the images show.

    curate zoo build csd        about 50 minutes on one (busy) CPU core, 7.8 MB

Loss as published (CSD, arXiv 2404.01292): multi-positive NCE over style labels, and a content head that
learns the subject behind a reversed gradient. From nothing rather than from CLIP, mean pooling rather than
the class token, and half of the patches dropped in training (FLIP, arXiv 2212.00794): style is everywhere in
an image, so half of it is enough and costs half.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import torch
from open_clip.transformer import PatchDropout
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from curate.zoo.clip_pixels import clip_pixels
from curate.zoo.contrast import multi_positive_nce
from curate.zoo.csd_palette import PLAN as PALETTE_PLAN
from curate.zoo.csd_palette import train_palette
from curate.zoo.csd_weighing import PLAN as WEIGHING_PLAN
from curate.zoo.csd_weighing import train_weighing
from curate.zoo.data import EmojiData, load_emoji
from curate.zoo.factorial import Labelled, Mix, draw_batch, training_sets
from curate.zoo.scorer_card import write_scorer_card
from filters.csd_network import CsdArch, CsdNetwork
from filters.csd_weights import save_csd
from filters.palette import Palette
from pipelines.training import Ema, FitResult, MetricsLog, Plan, TrainState, fit, training_device

ARCH: Final = CsdArch(
    image_size=64, patch_size=8, width=192, layers=6, pool_type="avg", quick_gelu=False, head_dim=128
)
PALETTE_DIM: Final = 128
PLAN: Final = Plan(steps=3000, peak_lr=1e-3, warmup=100, cooldown=0.5, seed=11, save_every=500)
MIX: Final = Mix(plain=9, per_plain=8, painted=14, per_painted=4)
SUMMARY: Final = """A CSD style model (arXiv 2404.01292) of toy size: cosines say how alike two styles are.
A palette stands beside its ViT: a similarity is a mean of two cosines, weighed image by image.
Loaded by `filters.csd`, the code that loads the published ViT-L/14."""
TEMPERATURE: Final = 0.1
# The adversary is kept weak: with temperature 0.1 and alpha 0.05 the backbone outran the content head (loss
# 9.9, chance 4.8).
CONTENT_TEMPERATURE: Final = 0.5
REVERSAL: Final = 0.01  # alpha of the content head's gradient into the backbone
PATCH_DROPOUT: Final = 0.5


def build(
    out: Path,
    work: Path,
    *,
    plan: Plan = PLAN,
    palette_plan: Plan = PALETTE_PLAN,
    weighing_plan: Plan = WEIGHING_PLAN,
    data: EmojiData | None = None,
    card: bool = True,
) -> FitResult:
    """Train (or go on training) ViT, palette and their weighing in ``work``; ``out`` gets weights and a card at the
    end."""
    data = data or load_emoji()
    trunk, trunk_result = train_vit(work / "vit", data, plan=plan)
    if not trunk_result.finished:
        return trunk_result
    palette, palette_result = train_palette(work / "palette", data, dim=PALETTE_DIM, plan=palette_plan)
    if not palette_result.finished:
        return palette_result
    network = with_palette(trunk, palette)
    weighing_result = train_weighing(work / "weighing", network, data, plan=weighing_plan)
    if not weighing_result.finished:
        return weighing_result
    save_csd(network, out)
    if card:
        trainings = {
            "ViT": (plan, trunk_result),
            "palette": (palette_plan, palette_result),
            "weighing": (weighing_plan, weighing_result),
        }
        write_scorer_card(out, "csd", summary=SUMMARY, data=data, trainings=trainings)
    return weighing_result


def with_palette(trunk: CsdNetwork, palette: Palette) -> CsdNetwork:
    """One network of both, weighing alike, on the CPU."""
    network = CsdNetwork(trunk.arch.model_copy(update={"palette_dim": PALETTE_DIM}))
    beside = {f"palette.{name}": value for name, value in palette.state_dict().items()}
    alike = {name: value for name, value in network.state_dict().items() if name.startswith("weighing.")}
    network.load_state_dict({**trunk.state_dict(), **beside, **alike})
    return network.eval()


def train_vit(work: Path, data: EmojiData, *, plan: Plan = PLAN) -> tuple[CsdNetwork, FitResult]:
    """Train (or go on training) the network without its palette; the averaged weights."""
    torch.manual_seed(plan.seed)
    device = training_device()
    network = CsdNetwork(ARCH).to(device)
    ema = Ema(network, decay=0.998)
    optimiser = torch.optim.AdamW(network.parameters(), lr=plan.peak_lr, weight_decay=0.05)
    subjects, sets = np.flatnonzero(~data.heldout_subjects), training_sets(data)
    network.backbone.patch_dropout = PatchDropout(PATCH_DROPOUT)

    def batch_at(step: int) -> Labelled:
        return draw_batch(
            data, np.random.default_rng([plan.seed, step]), subjects=subjects, sets=sets, mix=MIX
        )

    def losses_of(batch: Labelled) -> Mapping[str, Tensor]:
        with sdpa_kernel(SDPBackend.MATH):  # the fused kernel is slower for 33 tokens on a CPU
            output = network(clip_pixels(batch.images).to(device), reversal=REVERSAL)
        return {
            "style": multi_positive_nce(
                output.style, torch.from_numpy(batch.style).to(device), temperature=TEMPERATURE
            ),
            "content": multi_positive_nce(
                output.content, torch.from_numpy(batch.subject).to(device), temperature=CONTENT_TEMPERATURE
            ),
        }

    result = fit(
        TrainState(network, optimiser, ema),
        batch_at=batch_at,
        losses_of=losses_of,
        plan=plan,
        checkpoint=work / "checkpoint.pt",
        log=MetricsLog(work / "metrics.jsonl"),
        device=device,
    )
    network.backbone.patch_dropout = nn.Identity()
    ema.put_on(network)
    return network.eval(), result
