"""Build the compact CLIP model: a 2.2 M ModifiedResNet and a small text transformer that know emoji subjects.

    curate zoo build clip       about 1 hour on one shared CPU core without bf16, 4.5 MB

Two losses: image to name as in CLIP (arXiv 2103.00020), and multi-positive NCE between the drawings of one
subject by different sets, because what the score matrix asks of CLIP-I is "same subject, whatever the hand".
A convolutional tower learns shapes from few images much sooner than a ViT. Saved in open_clip's own folder
format and read back by its ``local-dir:`` loader.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from open_clip import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from open_clip.model import CLIP
from safetensors.torch import save_file
from torch import Tensor

from curate.zoo.clip_pixels import clip_pixels
from curate.zoo.contrast import image_text_loss, multi_positive_nce
from curate.zoo.data import EmojiData, load_emoji
from curate.zoo.factorial import Labelled, draw_subject_batch, training_sets
from curate.zoo.scorer_card import write_scorer_card
from curate.zoo.vocabulary import train_tokenizer
from pipelines.training import FitResult, MetricsLog, Plan, TrainState, fit, training_device

MODEL: Final[dict[str, Any]] = {
    "embed_dim": 128,
    "vision_cfg": {"image_size": 64, "layers": [1, 1, 2, 1], "width": 16, "patch_size": None},
    "text_cfg": {
        "context_length": 24,
        "vocab_size": 1024,
        "width": 128,
        "heads": 2,
        "layers": 3,
        "pool_type": "eos",
        "eos_id": 2,
        "hf_tokenizer_name": ".",
    },
}
PREPROCESS: Final = {
    "mean": OPENAI_DATASET_MEAN,
    "std": OPENAI_DATASET_STD,
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}
PLAN: Final = Plan(steps=4800, peak_lr=2e-3, warmup=100, cooldown=0.5, seed=12, save_every=400)
SUBJECTS, PER_SUBJECT, STYLES = 48, 3, 12  # of one batch
SUMMARY: Final = """A CLIP model of toy size that knows emoji subjects by drawing and by name.
Loaded by open_clip itself: `open_clip.create_model_from_pretrained("local-dir:...")`."""
TEMPERATURE: Final = 0.1
TEXT_WEIGHT: Final = 0.5
TEMPLATES: Final = ("{}", "{}", "a {}", "an icon of a {}", "a picture of a {}", "{} in another style")


class NamedBatch(NamedTuple):
    """Images with their subjects, and one caption (token ids) for each subject of ``names``, int64 (T,)."""

    images: Labelled
    names: Tensor
    tokens: Tensor


def build(
    out: Path, work: Path, *, plan: Plan = PLAN, data: EmojiData | None = None, card: bool = True
) -> FitResult:
    """Train (or go on training) in ``work``; ``out`` gets the weights at every save, a card at the end."""
    data = data or load_emoji()
    subjects, sets = np.flatnonzero(~data.heldout_subjects), training_sets(data)
    tokenizer = train_tokenizer(
        [t.format(data.subjects[i]) for i in subjects.tolist() for t in TEMPLATES],
        size=MODEL["text_cfg"]["vocab_size"],
    )
    torch.manual_seed(plan.seed)
    device = training_device()
    network = CLIP(MODEL["embed_dim"], MODEL["vision_cfg"], MODEL["text_cfg"])
    network = network.to(device).to(memory_format=torch.channels_last)
    # no average of weights: it would not fit the batch norms' running statistics; the cooldown does the
    # averaging
    state = TrainState(network, torch.optim.AdamW(network.parameters(), lr=plan.peak_lr, weight_decay=0.1))

    def batch_at(step: int) -> NamedBatch:
        rng = np.random.default_rng([plan.seed, step])
        images = draw_subject_batch(
            data, rng, subjects=subjects, sets=sets, count=SUBJECTS, per_subject=PER_SUBJECT, styles=STYLES
        )
        names = np.unique(images.subject)
        captions = [
            TEMPLATES[int(rng.integers(len(TEMPLATES)))].format(data.subjects[i]) for i in names.tolist()
        ]
        tokens = tokenizer(
            captions,
            padding="max_length",
            truncation=True,
            return_tensors="pt",
            max_length=MODEL["text_cfg"]["context_length"],
        ).input_ids
        return NamedBatch(images, torch.from_numpy(names), tokens)

    def losses_of(batch: NamedBatch) -> Mapping[str, Tensor]:
        vectors = network.encode_image(clip_pixels(batch.images.images).to(device), normalize=True)
        texts = network.encode_text(batch.tokens.to(device), normalize=True)
        subject = torch.from_numpy(batch.images.subject).to(device)
        scale = network.logit_scale.exp().clamp(max=100)  # CLIP's bound
        return {
            "image": multi_positive_nce(vectors, subject, temperature=TEMPERATURE),
            "text": TEXT_WEIGHT
            * image_text_loss(vectors, texts, torch.searchsorted(batch.names.to(device), subject), scale),
        }

    def ship(state: TrainState) -> None:
        out.mkdir(parents=True, exist_ok=True)
        tokenizer.save_pretrained(out)
        save_clip(network, out)

    network.train()
    result = fit(
        state,
        batch_at=batch_at,
        losses_of=losses_of,
        plan=plan,
        checkpoint=work / "checkpoint.pt",
        log=MetricsLog(work / "metrics.jsonl"),
        on_save=ship,
        device=device,
    )
    if result.finished and card:
        write_scorer_card(out, "clip", summary=SUMMARY, data=data, trainings={"training": (plan, result)})
    return result


def save_clip(network: CLIP, folder: Path) -> None:
    """Write ``open_clip_config.json`` and half-precision weights; the tokenizer is saved apart."""
    config = {"model_cfg": MODEL, "preprocess_cfg": PREPROCESS}
    (folder / "open_clip_config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    weights = {k: v.detach().half() if v.is_floating_point() else v for k, v in network.state_dict().items()}
    save_file(
        {k: v.contiguous() for k, v in weights.items()},
        folder / "open_clip_model.safetensors",
        metadata={"format": "pt"},
    )
