"""Build the evaluator: the judge of the zoo's experts, trained apart from the product's scorers.

    curate zoo build evaluator        about 8 minutes on one CPU core, 5 MB

Three losses at once on subjects x styles batches: multi-positive NCE over styles and over subjects, and
cross-entropy over the nine training sets for images drawn as they are. Its seeds are not those of CSD's
training.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from curate.parametric import plain
from curate.zoo.card import data_table, facts_table, write_card
from curate.zoo.contrast import multi_positive_nce
from curate.zoo.data import EmojiData, load_emoji
from curate.zoo.evaluator_network import Evaluator
from curate.zoo.factorial import Labelled, Mix, draw_batch, training_sets
from curate.zoo.restyle_data import to_float
from pipelines.training import Ema, FitResult, MetricsLog, Plan, TrainState, fit, training_device

PLAN: Final = Plan(steps=800, peak_lr=1.5e-3, warmup=50, cooldown=0.5, seed=23, save_every=200)
MIX: Final = Mix(plain=9, per_plain=6, painted=10, per_painted=4, pool=20)
TEMPERATURE: Final = 0.1
SET_WEIGHT: Final = 2.0  # at 0.5 the set of only 63 % of held-out drawings was named right, now of 69 %


def build(out: Path, work: Path, *, plan: Plan = PLAN, data: EmojiData | None = None) -> FitResult:
    """Train (or go on training) in `work`; at every save the averaged weights go to `out`, in fp16."""
    data = data or load_emoji()
    sets = training_sets(data)
    torch.manual_seed(plan.seed)
    device = training_device()
    network = Evaluator(set_names=tuple(data.set_names[index] for index in sets)).to(device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=plan.peak_lr, weight_decay=0.02)
    state = TrainState(network, optimizer, Ema(network, decay=0.998))
    subjects = np.flatnonzero(~data.heldout_subjects)
    place = torch.full((len(data.set_names),), -1)
    place[sets] = torch.arange(len(sets))

    def batch_at(step: int) -> Labelled:
        return draw_batch(data, np.random.default_rng([plan.seed, step]), subjects=subjects, sets=sets, mix=MIX)

    def losses_of(batch: Labelled) -> Mapping[str, Tensor]:
        seen = network(to_float(batch.images).to(device))
        as_drawn = torch.tensor([family in data.set_names for family in batch.family], device=device)
        style, subject = (torch.from_numpy(each).to(device) for each in (batch.style, batch.subject))
        target = place[torch.from_numpy(batch.source)].to(device)
        return {
            "style": multi_positive_nce(seen.style, style, temperature=TEMPERATURE),
            "subject": multi_positive_nce(seen.subject, subject, temperature=TEMPERATURE),
            "sets": SET_WEIGHT * F.cross_entropy(seen.sets[as_drawn], target[as_drawn]),
        }

    def ship(state: TrainState) -> None:
        assert state.ema is not None
        with state.ema.applied(network):
            save_half(network, out)
            write_evaluator_card(network, out, state=state, plan=plan, data=data)

    return fit(
        state,
        batch_at=batch_at,
        losses_of=losses_of,
        plan=plan,
        checkpoint=work / "checkpoint.pt",
        log=MetricsLog(work / "metrics.jsonl"),
        on_save=ship,
        device=device,
    )


def save_half(network: Evaluator, out: Path) -> None:
    """Write a copy of the network in fp16; the network itself stays as it is."""
    copy = Evaluator(**{key: value for key, value in network.config.items() if not key.startswith("_")})
    copy.load_state_dict(network.state_dict())
    copy.half().save_pretrained(out)


def write_evaluator_card(network: Evaluator, out: Path, *, state: TrainState, plan: Plan, data: EmojiData) -> None:
    """The card of what `save_half` wrote, with how well it names the sets of drawings that it never saw."""
    facts: dict[str, str | int | float] = {
        "command": "`curate zoo build evaluator`",
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "steps": f"{state.step} of {plan.steps}",
        "images": state.step * MIX.size,
        "seconds": round(state.seconds),
        "seed": plan.seed,
        "set named right, held-out subjects (chance 0.111)": set_accuracy(network, data),
    }
    write_card(
        out,
        title="evaluator: conv net that judges the restyle expert, 64 px",
        summary="Names the training set that drew an image; gives style and subject vectors. For evaluation only.",
        sections={"Training": facts_table(facts), "Data": data_table(data)},
    )


@torch.no_grad()
def set_accuracy(network: Evaluator, data: EmojiData, *, most: int = 100) -> float:
    """Share of held-out drawings, up to `most` a training set, whose set is named first; the mean over sets."""
    shares = []
    for place, name in enumerate(network.config.set_names):
        mine = data.heldout_subjects[data.subject_index] & (data.set_index == data.set_names.index(name))
        images = np.stack([plain(data.images[row]) for row in np.flatnonzero(mine)[:most]])
        shares.append(float((network(to_float(images).to(network.device)).sets.argmax(1) == place).float().mean()))
    return float(np.mean(shares))


def load_evaluator(folder: Path) -> Evaluator:
    """The evaluator in float32, for inference."""
    network: Evaluator = Evaluator.from_pretrained(folder, dtype=torch.float32)
    network.eval().requires_grad_(False)
    return network
