"""The compact USO's vision encoder: a SigLIP of 2 M that matches emoji drawings with captions of subject and style.

Loss as published (arXiv 2303.15343, equation 1): every image against every caption of the batch, a sigmoid each. A
batch is factorial, each of a few subjects in each of a few styles, so that neither subject nor style alone finds the
pair.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import SiglipConfig, SiglipModel, SiglipVisionConfig, SiglipVisionModel

from curate.parametric import Style, apply_style, plain, sample_style
from curate.zoo.augment import move
from curate.zoo.data import EmojiData
from curate.zoo.factorial import training_sets
from curate.zoo.style_words import describe, describe_set
from curate.zoo.uso_data import to_tensor
from pipelines.training import FitResult, MetricsLog, Plan, TrainState, fit, training_device

VISION: Final[dict[str, Any]] = {
    "hidden_size": 160,
    "intermediate_size": 480,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "image_size": 64,
    "patch_size": 8,
}
LEVELS: Final = (-2, -4, -6)  # high, mid, low of the six layers, as USO takes -2, -11 and -20 of 27
TEXT: Final[dict[str, Any]] = {
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 20,
    "projection_size": 160,
}
PLAN: Final = Plan(steps=800, peak_lr=1e-3, warmup=100, cooldown=0.5, seed=22, save_every=200, log_every=50)
SUBJECTS, PAINTED, PLAIN = 12, 7, 3  # of one batch: 12 subjects in 7 parametric styles and as 3 sets draw them
INITIAL_SCALE, INITIAL_BIAS = 10.0, -10.0  # as published


class Captioned(NamedTuple):
    """images float32 (B, 3, 64, 64) in [-1, 1]; tokens int64 (B, length)."""

    images: Tensor
    tokens: Tensor


def train_vision(
    work: Path, data: EmojiData, tokenizer: Any, *, plan: Plan = PLAN, vision: Mapping[str, Any] = VISION
) -> tuple[SiglipVisionModel, FitResult]:
    """Train (or go on training) in `work`; the vision tower alone is what the USO takes."""
    torch.manual_seed(plan.seed)
    device = training_device()
    special = {"pad_token_id": 0, "bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    text = {**TEXT, **special, "vocab_size": len(tokenizer), "projection_size": vision["hidden_size"]}
    model = SiglipModel(SiglipConfig(text_config=text, vision_config=dict(vision))).to(device)
    nn.init.constant_(model.logit_scale, float(np.log(INITIAL_SCALE)))
    nn.init.constant_(model.logit_bias, INITIAL_BIAS)
    state = TrainState(model, torch.optim.AdamW(model.parameters(), lr=plan.peak_lr, weight_decay=0.05, foreach=True))

    def batch_at(step: int) -> Captioned:
        images, captions = draw_captioned(data, np.random.default_rng([plan.seed, step]))
        length = TEXT["max_position_embeddings"]
        tokens = tokenizer(captions, padding="max_length", truncation=True, max_length=length, return_tensors="pt")
        return Captioned(to_tensor(images), tokens.input_ids)

    def losses_of(batch: Captioned) -> Mapping[str, Tensor]:
        found = model(input_ids=batch.tokens.to(device), pixel_values=batch.images.to(device))
        logits = found.logits_per_image.float()
        signs = 2 * torch.eye(len(logits), device=device) - 1
        return {"siglip": -F.logsigmoid(signs * logits).sum(dim=1).mean()}

    model.train()
    result = fit(
        state,
        batch_at=batch_at,
        losses_of=losses_of,
        plan=plan,
        checkpoint=work / "checkpoint.pt",
        log=MetricsLog(work / "metrics.jsonl"),
        device=device,
    )
    tower = SiglipVisionModel(SiglipVisionConfig(**vision)).to(device)
    tower.load_state_dict(model.vision_model.state_dict())
    return tower.eval().requires_grad_(False), result


def draw_captioned(data: EmojiData, rng: np.random.Generator) -> tuple[list[np.ndarray], list[str]]:
    """A batch of training subjects x styles: uint8 (64, 64, 3) each, and what each shows."""
    subjects = rng.choice(np.flatnonzero(~data.heldout_subjects), size=SUBJECTS, replace=False).tolist()
    sets = training_sets(data)
    styles: list[Style | int] = [sample_style(rng) for _ in range(PAINTED)]
    styles += rng.choice(sets, size=PLAIN, replace=False).tolist()
    images, captions = [], []
    for subject in subjects:
        for style in styles:
            hands = sets if isinstance(style, Style) else [style]
            rows = [row for row in data.rows[subject, hands].tolist() if row >= 0]
            if not rows:
                continue
            drawing = move(data.images[int(rng.choice(rows))], rng)
            if isinstance(style, Style):
                images.append(apply_style(style, drawing))
                words = describe(style)
            else:
                images.append(plain(drawing))
                words = describe_set(data.set_names[style])
            captions.append(f"{data.subjects[subject]}, {words}")
    return images, captions
