"""Build the compact judge: a LLaVA of toy size that rates subject and style of two images from 0 to 4.

    curate zoo build vlm        about 20 minutes on one CPU core, 7 MB

Two stages. First the vision tower: the compact CSD network (built before), trained on with both of its heads
as allies, so that its patches tell style and subject. Then projector and language model answer questions over
frozen patches. The processor, chat template and model classes are those of transformers, loaded by nothing
but AutoProcessor and AutoModelForImageTextToText.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from open_clip.transformer import PatchDropout
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
)

from curate.models import resolve_model
from curate.zoo.clip_pixels import clip_pixels
from curate.zoo.contrast import multi_positive_nce
from curate.zoo.csd import ARCH as CSD_ARCH
from curate.zoo.data import EmojiData, load_emoji
from curate.zoo.factorial import Labelled, draw_subject_batch, training_sets
from curate.zoo.judge_pairs import Grid, draw_grid, draw_pairs
from curate.zoo.scorer_card import write_scorer_card
from curate.zoo.vocabulary import START, train_tokenizer
from filters.csd_network import CsdArch, CsdNetwork
from filters.csd_weights import load_csd, to_transformers_names
from filters.vlm import STYLE_QUESTION, SUBJECT_QUESTION
from filters.vlm_score import RATINGS, chat_prompt, rating_token_ids
from pipelines.training import Ema, FitResult, MetricsLog, Plan, TrainState, fit

TOWER_ARCH: Final = CsdArch(**{**CSD_ARCH.model_dump(), "head_dim": 64})
TOWER_PLAN: Final = Plan(steps=1200, peak_lr=1e-3, warmup=100, cooldown=0.5, seed=13, save_every=400)
JUDGE_PLAN: Final = Plan(
    steps=4000, peak_lr=1e-3, warmup=200, cooldown=0.4, seed=14, save_every=500, log_every=100
)
TEXT: Final[dict[str, int]] = {
    "hidden_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 384,
    "vocab_size": 640,
    "max_position_embeddings": 512,
}
IMAGE, ANSWER = "<image>", "<answer>"
CHAT_TEMPLATE: Final = (
    "{{ '" + START + "' }}{% for message in messages %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}{{ '" + IMAGE + "' }}{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endfor %}{% if add_generation_prompt %}{{ '" + ANSWER + "' }}{% endif %}"
)
SUMMARY: Final = """A LLaVA of toy size that rates how far two images share subject and style, 0 to 4.
Loaded by transformers' AutoProcessor and AutoModelForImageTextToText; it understands the two questions of
`filters.vlm` and no other."""
TEMPERATURE: Final = 0.1
PATCH_DROPOUT: Final = 0.3
SUBJECTS, PER_SUBJECT, STYLES, PAINTED = 40, 3, 8, 0.5  # of a tower batch
PAIRS_PER_STEP, STEPS_PER_GRID = 64, 16


def build(
    out: Path,
    work: Path,
    *,
    tower_plan: Plan = TOWER_PLAN,
    judge_plan: Plan = JUDGE_PLAN,
    data: EmojiData | None = None,
    csd: str | None = "zoo:csd",
    card: bool = True,
) -> FitResult:
    """Train both stages (or go on) in ``work``; ``out`` gets the weights at every save of the second, a card
    at the end.

    ``csd``: the CSD model that the tower starts from; None starts from random weights.
    """
    data = data or load_emoji()
    tower, first = train_tower(work / "tower", plan=tower_plan, data=data, csd=csd)
    if not first.finished:
        return first
    second = train_judge(tower, out, work / "judge", plan=judge_plan, data=data)
    if second.finished and card:
        stages = {"tower": (tower_plan, first), "judge": (judge_plan, second)}
        write_scorer_card(out, "vlm", summary=SUMMARY, data=data, trainings=stages)
    return second


def train_tower(work: Path, *, plan: Plan, data: EmojiData, csd: str | None) -> tuple[CsdNetwork, FitResult]:
    """Style and subject by multi-positive NCE on the two heads of a CSD network; returned with averaged
    weights.
    """
    torch.manual_seed(plan.seed)
    network = CsdNetwork(TOWER_ARCH)
    if csd is not None:
        network.backbone.load_state_dict(load_csd(Path(resolve_model(csd))).backbone.state_dict())
    state = TrainState(
        network,
        torch.optim.AdamW(network.parameters(), lr=plan.peak_lr, weight_decay=0.05),
        Ema(network, decay=0.998),
    )
    subjects, sets = np.flatnonzero(~data.heldout_subjects), training_sets(data)
    network.backbone.patch_dropout = PatchDropout(PATCH_DROPOUT)

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
        with sdpa_kernel(SDPBackend.MATH):
            output = network(clip_pixels(batch.images))
        return {
            "style": multi_positive_nce(output.style, torch.from_numpy(batch.style), temperature=TEMPERATURE),
            "subject": multi_positive_nce(
                output.content, torch.from_numpy(batch.subject), temperature=TEMPERATURE
            ),
        }

    result = fit(
        state,
        batch_at=batch_at,
        losses_of=losses_of,
        plan=plan,
        checkpoint=work / "checkpoint.pt",
        log=MetricsLog(work / "metrics.jsonl"),
    )
    assert state.ema is not None
    network.load_state_dict({**network.state_dict(), **state.ema.shadow})
    network.backbone.patch_dropout = nn.Identity()
    return network.eval(), result


class Questions(NamedTuple):
    """patches (2B, P, width) of the first and second images in turn; tokens, mask int64 (B, L); rating int64
    (B,).
    """

    patches: Tensor
    tokens: Tensor
    mask: Tensor
    rating: Tensor


def train_judge(tower: CsdNetwork, out: Path, work: Path, *, plan: Plan, data: EmojiData) -> FitResult:
    """Projector and language model over the tower's frozen patches; cross-entropy of the answer's one
    token.
    """
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
    prompts = [chat_prompt(processor, question) for question in (SUBJECT_QUESTION, STYLE_QUESTION)]
    ratings = torch.tensor(rating_token_ids(processor.tokenizer, prompts[0]))
    num_patches = (TOWER_ARCH.image_size // TOWER_ARCH.patch_size) ** 2
    encoded = processor.tokenizer(
        [p.replace(IMAGE, IMAGE * num_patches) for p in prompts],
        padding=True,
        return_tensors="pt",
        padding_side="right",
    )

    @lru_cache(maxsize=2)
    def grid_at(number: int) -> tuple[Grid, Tensor]:
        grid = draw_grid(data, np.random.default_rng([plan.seed, 0, number]), subjects=subjects)
        return grid, patches_of(model, grid.images, bf16=plan.bf16)

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


def make_processor(arch: CsdArch) -> Any:
    """LLaVA's processor with a tokenizer learnt from the two questions; other words fall apart into
    letters.
    """
    texts = [SUBJECT_QUESTION, STYLE_QUESTION] * 20 + list(RATINGS)
    tokenizer = train_tokenizer(texts, size=TEXT["vocab_size"], extra=(IMAGE, ANSWER), wrap=False)
    size = arch.image_size
    images = CLIPImageProcessor(size={"shortest_edge": size}, crop_size={"height": size, "width": size})
    return LlavaProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=arch.patch_size,
        chat_template=CHAT_TEMPLATE,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        image_token=IMAGE,
    )


def make_model(tower: CsdNetwork, processor: Any) -> Any:
    """A LLaVA around the tower. Its projector starts as the tower's two heads, so that both similarities are
    in view at once.
    """
    arch, tokenizer = tower.arch, processor.tokenizer
    vision = CLIPVisionConfig(
        hidden_size=arch.width,
        intermediate_size=int(arch.width * arch.mlp_ratio),
        patch_size=arch.patch_size,
        num_hidden_layers=arch.layers,
        num_attention_heads=arch.width // arch.head_width,
        image_size=arch.image_size,
        hidden_act="quick_gelu" if arch.quick_gelu else "gelu",
        projection_dim=arch.head_dim,
    )
    text = LlamaConfig(
        **TEXT,
        num_key_value_heads=TEXT["num_attention_heads"],
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = LlavaForConditionalGeneration(
        LlavaConfig(
            vision_config=vision,
            text_config=text,
            image_token_id=tokenizer.convert_tokens_to_ids(IMAGE),
            vision_feature_layer=-1,
            vision_feature_select_strategy="default",
            image_seq_length=(arch.image_size // arch.patch_size) ** 2,
            tie_word_embeddings=True,
        )
    )
    model.model.vision_tower.load_state_dict(to_transformers_names(tower.backbone.state_dict()))
    heads = torch.cat(
        [tower.last_layer_style, tower.last_layer_content], dim=1
    ).detach()  # (width, 2 head_dim)
    with torch.no_grad():
        model.model.multi_modal_projector.linear_1.weight.copy_(
            (tower.backbone.ln_post.weight[:, None] * heads).T
        )
    model.model.vision_tower.requires_grad_(False)
    return model.eval()


@torch.no_grad()
def patches_of(model: Any, images: np.ndarray[Any, np.dtype[np.uint8]], *, bf16: bool) -> Tensor:
    """What the projector sees of images uint8 (N, H, W, 3): float32 (N, patches, width), without the class
    token.
    """
    parts = []
    for start in range(0, len(images), 64):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            hidden = model.model.vision_tower(
                clip_pixels(images[start : start + 64]), output_hidden_states=True
            ).hidden_states
        parts.append(hidden[-1][:, 1:].float())
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
    copy = LlavaForConditionalGeneration(model.config).half()
    copy.load_state_dict(model.state_dict())
    return copy
