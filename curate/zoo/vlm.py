"""Build the compact judge: a FastVLM of toy size that rates subject and style of two images from 0 to 4.

    curate zoo build vlm        about 19 minutes on one CPU core, 4.1 MB

Two stages. First the vision tower learns to tell style and subject. Then projector and language model answer
questions over its frozen feature maps, 4 tokens an image: a LLaVA over ViT patches (16 tokens) took twice as
long a step. Processor, chat template and model classes are those of transformers, loaded by nothing but
AutoProcessor and AutoModelForImageTextToText.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import (
    CLIPImageProcessor,
    FastVlmConfig,
    FastVlmForConditionalGeneration,
    LlamaConfig,
    LlavaProcessor,
)

from curate.zoo.clip_pixels import clip_pixels
from curate.zoo.contrast import multi_positive_nce
from curate.zoo.data import EmojiData, load_emoji
from curate.zoo.factorial import Labelled, draw_subject_batch, training_sets
from curate.zoo.judge_pairs import Grid, draw_grid, draw_pairs
from curate.zoo.judge_tower import JudgeTower, TowerArch, patches
from curate.zoo.scorer_card import write_scorer_card
from curate.zoo.vocabulary import START, train_tokenizer
from filters.answers import RATINGS
from filters.rubric import read_rubric
from filters.vlm_local import chat_prompt, choice_token_ids
from pipelines.training import Ema, FitResult, MetricsLog, Plan, TrainState, bf16_pays, fit

SUBJECT_QUESTION, STYLE_QUESTION = dict.fromkeys(question.ask for question in read_rubric("triplet").questions)
TOWER_ARCH: Final = TowerArch()
TOWER_PLAN: Final = Plan(steps=1500, peak_lr=2e-3, warmup=100, cooldown=0.5, seed=13, save_every=300)
JUDGE_PLAN: Final = Plan(
    steps=4000, peak_lr=1.5e-3, warmup=200, cooldown=0.5, seed=14, save_every=500, log_every=100
)
TEXT: Final[dict[str, int]] = {
    "hidden_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 384,
    "vocab_size": 768,
    "max_position_embeddings": 512,
}
IMAGE, ANSWER = "<image>", "<answer>"
CHAT_TEMPLATE: Final = (
    "{{ '" + START + "' }}{% for message in messages %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}{{ '" + IMAGE + "' }}{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endfor %}{% if add_generation_prompt %}{{ '" + ANSWER + "' }}{% endif %}"
)
SUMMARY: Final = """A FastVLM of toy size that rates how far two images share subject and style, 0 to 4.
Loaded by transformers' AutoProcessor and AutoModelForImageTextToText; it understands the two questions of
`filters/rubrics/triplet.yaml` and no other."""
TEMPERATURE: Final = 0.1
SUBJECTS, PER_SUBJECT, STYLES, PAINTED = 40, 3, 8, 0.5  # of a tower batch
INIT_STD: Final = 0.08  # about width ** -0.5; transformers' 0.02 is meant for wide models
PAIRS_PER_STEP, STEPS_PER_GRID = 64, 24


def build(
    out: Path,
    work: Path,
    *,
    tower_plan: Plan = TOWER_PLAN,
    judge_plan: Plan = JUDGE_PLAN,
    data: EmojiData | None = None,
    card: bool = True,
) -> FitResult:
    """Train both stages (or go on) in ``work``; the second fills ``out``, with a card at the end."""
    data = data or load_emoji()
    tower, first = train_tower(work / "tower", plan=tower_plan, data=data)
    if not first.finished:
        return first
    second = train_judge(tower, out, work / "judge", plan=judge_plan, data=data)
    if second.finished and card:
        stages = {"tower": (tower_plan, first), "judge": (judge_plan, second)}
        write_scorer_card(out, "vlm", summary=SUMMARY, data=data, trainings=stages)
    return second


def train_tower(work: Path, *, plan: Plan, data: EmojiData) -> tuple[JudgeTower, FitResult]:
    """Style and subject by multi-positive NCE, one head each."""
    torch.manual_seed(plan.seed)
    network = JudgeTower(TOWER_ARCH)
    # no average of weights: it would not fit the batch norms' running statistics
    state = TrainState(network, torch.optim.AdamW(network.parameters(), lr=plan.peak_lr, weight_decay=0.05))
    subjects, sets = np.flatnonzero(~data.heldout_subjects), training_sets(data)

    def batch_at(step: int) -> Labelled:
        return draw_subject_batch(
            data,
            np.random.default_rng([plan.seed, step]),
            subjects=subjects,
            sets=sets,
            count=SUBJECTS,
            per_subject=PER_SUBJECT,
            styles=STYLES,
            painted_chance=PAINTED,
        )

    def losses_of(batch: Labelled) -> Mapping[str, Tensor]:
        style, subject = network(clip_pixels(batch.images))
        return {
            "style": multi_positive_nce(style, torch.from_numpy(batch.style), temperature=TEMPERATURE),
            "subject": multi_positive_nce(subject, torch.from_numpy(batch.subject), temperature=TEMPERATURE),
        }

    network.train()
    result = fit(
        state,
        batch_at=batch_at,
        losses_of=losses_of,
        plan=plan,
        checkpoint=work / "checkpoint.pt",
        log=MetricsLog(work / "metrics.jsonl"),
    )
    return network.eval(), result


class Questions(NamedTuple):
    """patches (2B, P, width) of the first and second images in turn; tokens, mask int64 (B, L); rating int64
    (B,).
    """

    patches: Tensor
    tokens: Tensor
    mask: Tensor
    rating: Tensor


def train_judge(tower: JudgeTower, out: Path, work: Path, *, plan: Plan, data: EmojiData) -> FitResult:
    """Projector and language model over frozen patches; cross-entropy of the answer's one token."""
    torch.manual_seed(plan.seed)
    processor = make_processor(TOWER_ARCH)
    model = make_model(tower, processor)
    trained = nn.ModuleList(
        [model.model.multi_modal_projector, model.model.language_model]
    )  # lm_head is tied
    state = TrainState(
        trained,
        torch.optim.AdamW(trained.parameters(), lr=plan.peak_lr, weight_decay=0.01),
        Ema(trained, decay=0.998),
    )
    subjects = np.flatnonzero(~data.heldout_subjects)
    grid = draw_grid(data, np.random.default_rng([plan.seed, 2]), subjects=subjects)
    bf16 = plan.bf16 and bf16_pays(torch.device("cpu"))
    standardise_projector(model, patches_of(model, grid.images, bf16=bf16))
    prompts = [chat_prompt(processor, [question], images=2) for question in (SUBJECT_QUESTION, STYLE_QUESTION)]
    ratings = torch.tensor([ids[0] for ids in choice_token_ids(processor.tokenizer, prompts[0], RATINGS)])
    num_patches = TOWER_ARCH.num_patches
    encoded = processor.tokenizer(
        [p.replace(IMAGE, IMAGE * num_patches) for p in prompts],
        padding=True,
        return_tensors="pt",
        padding_side="right",
    )

    @lru_cache(maxsize=2)
    def grid_at(number: int) -> tuple[Grid, Tensor]:
        grid = draw_grid(data, np.random.default_rng([plan.seed, 0, number]), subjects=subjects)
        return grid, patches_of(model, grid.images, bf16=bf16)

    def batch_at(step: int) -> Questions:
        grid, patches = grid_at(step // STEPS_PER_GRID)
        pairs = draw_pairs(grid, np.random.default_rng([plan.seed, 1, step]), count=PAIRS_PER_STEP)
        rows = torch.from_numpy(np.stack([pairs.first, pairs.second], axis=1).reshape(-1))
        which = torch.from_numpy(pairs.asks_style.astype(np.int64))
        return Questions(
            patches[rows],
            encoded.input_ids[which],
            encoded.attention_mask[which],
            torch.from_numpy(pairs.rating),
        )

    def losses_of(batch: Questions) -> Mapping[str, Tensor]:
        with sdpa_kernel(SDPBackend.MATH):
            logits = answer_logits(model, batch)
        return {"answer": functional.cross_entropy(logits.float(), ratings[batch.rating])}

    def ship(state: TrainState) -> None:
        assert state.ema is not None
        with state.ema.applied(trained):
            save_judge(model, processor, out)

    return fit(
        state,
        batch_at=batch_at,
        losses_of=losses_of,
        plan=plan,
        checkpoint=work / "checkpoint.pt",
        log=MetricsLog(work / "metrics.jsonl"),
        on_save=ship,
    )


def make_processor(arch: TowerArch) -> Any:
    """LLaVA's processor, as FastVLM uses it; words that the two questions lack fall apart into letters."""
    texts = [SUBJECT_QUESTION, STYLE_QUESTION] * 20 + list(RATINGS)
    tokenizer = train_tokenizer(
        texts, size=TEXT["vocab_size"], extra=(IMAGE, ANSWER), wrap=False, phrases=True
    )
    size = arch.image_size
    images = CLIPImageProcessor(size={"shortest_edge": size}, crop_size={"height": size, "width": size})
    return LlavaProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=arch.stride,
        chat_template=CHAT_TEMPLATE,
        vision_feature_select_strategy="full",
        num_additional_image_tokens=0,
        image_token=IMAGE,
    )


def make_model(tower: JudgeTower, processor: Any) -> Any:
    """A FastVLM around the tower; projector starts as the two heads, attention as similarity."""
    arch, tokenizer = tower.arch, processor.tokenizer
    text = LlamaConfig(
        **TEXT,
        num_key_value_heads=TEXT["num_attention_heads"],
        tie_word_embeddings=True,
        initializer_range=INIT_STD,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = FastVlmForConditionalGeneration(
        FastVlmConfig(
            vision_config=arch.vision_config(),
            text_config=text,
            image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
            image_seq_length=arch.num_patches,
            tie_word_embeddings=True,
        )
    )
    model.model.vision_tower.load_state_dict(tower.backbone.state_dict())
    with torch.no_grad():
        heads = torch.cat([tower.style_head, tower.subject_head], dim=1)  # (width, 2 head_dim)
        model.model.multi_modal_projector.linear_1.weight.copy_(heads.T)
        layers = model.model.language_model.layers
        half = (
            layers[0].self_attn.q_proj.weight.shape[0] // 2
        )  # half of the first heads see style, half subject
        layers[0].self_attn.q_proj.weight[:half, arch.head_dim :] = 0
        layers[0].self_attn.q_proj.weight[half:, : arch.head_dim] = 0
        for layer in layers:  # attention starts as similarity
            layer.self_attn.k_proj.weight.copy_(layer.self_attn.q_proj.weight)
    model.model.vision_tower.requires_grad_(False)
    return model.eval()


@torch.no_grad()
def standardise_projector(model: Any, seen: Tensor) -> None:
    """Make the projector give each dimension of both heads mean 0, deviation 1 over ``seen`` (N, P, width).

    Feature maps after a ReLU share a large mean, which would drown all differences in the first attention.
    The offset of 2 puts GELU on its straight part, and the second layer takes it out again.
    """
    projector, offset = model.model.multi_modal_projector, 2.0
    values = seen.flatten(0, 1) @ projector.linear_1.weight.T
    mean, deviation = values.mean(dim=0), values.std(dim=0) + 1e-6
    projector.linear_1.weight.div_(deviation[:, None])
    projector.linear_1.bias.copy_(offset - mean / deviation)
    projector.linear_2.weight.copy_(torch.eye(len(mean)))
    projector.linear_2.bias.fill_(-offset)


@torch.no_grad()
def patches_of(model: Any, images: np.ndarray[Any, np.dtype[np.uint8]], *, bf16: bool) -> Tensor:
    """What the projector sees of images uint8 (N, H, W, 3): float32 (N, patches, width)."""
    parts = []
    for start in range(0, len(images), 64):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            parts.append(patches(model.model.vision_tower, clip_pixels(images[start : start + 64])).float())
    return torch.cat(parts)


def answer_logits(model: Any, batch: Questions) -> Tensor:
    """(B, vocabulary) logits of the answer's first token, as the whole model computes them, from patches
    instead of pixels.
    """
    inner = model.model
    embedded = inner.get_input_embeddings()(batch.tokens)
    images = inner.multi_modal_projector(batch.patches).to(embedded.dtype)
    where = (batch.tokens == model.config.image_token_id).unsqueeze(-1)
    embedded = embedded.masked_scatter(where, images)
    hidden = inner.language_model(
        inputs_embeds=embedded, attention_mask=batch.mask, use_cache=False
    ).last_hidden_state
    logits: Tensor = model.lm_head(hidden[torch.arange(len(hidden)), batch.mask.sum(dim=1) - 1])
    return logits


def save_judge(model: Any, processor: Any, folder: Path) -> None:
    """Write the folder that AutoProcessor and AutoModelForImageTextToText read: weights in half precision."""
    folder.mkdir(parents=True, exist_ok=True)
    half = make_half(model)
    half.save_pretrained(folder)
    processor.save_pretrained(folder)


def make_half(model: Any) -> Any:
    """A half-precision copy; the model in training stays in float32."""
    copy = FastVlmForConditionalGeneration(model.config).half()
    copy.load_state_dict(model.state_dict())
    return copy
