"""First stage of the restyle expert: its style encoder learns alone what a reference says about its style.

The U-Net is dear (27 ms an image), the encoder cheap (3 ms), and 22 families need tens of thousands of styles before an
embedding means something: so it meets them here, before the U-Net joins. Three questions with known answers, about
p on Y alone: which family and accent p is of, which colour transform takes plain X of another subject to p on X, and
which takes p on Y back to plain Y.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from curate.parametric import ACCENTS, FAMILIES, apply_style, plain, sample_style
from curate.zoo.restyle_data import RestyleStream, to_float
from pipelines.compact.network import StyleEncoder
from pipelines.training import Ema, FitResult, MetricsLog, Plan, TrainState, fit

PLAN: Final = Plan(steps=900, peak_lr=1e-3, warmup=50, cooldown=0.3, save_every=300)
BATCH: Final = 64
FAMILY_WEIGHT: Final = 0.1
_EVERY: Final = 4  # pixels of the colour losses: every 4th row and column tell enough


@dataclass(frozen=True)
class StyleSample:
    """uint8 (64, 64, 4) for the plain pictures and their silhouettes, (64, 64, 3) for the styled ones."""

    plain_x: NDArray[np.uint8]
    styled_x: NDArray[np.uint8]
    plain_y: NDArray[np.uint8]
    styled_y: NDArray[np.uint8]
    family: int
    accent: int


class StyleLesson(nn.Module):
    """The encoder and two heads that only this stage needs."""

    def __init__(self, encoder: StyleEncoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.family = nn.Linear(encoder.config.embed_dim, len(FAMILIES))
        self.accent = nn.Linear(encoder.config.embed_dim, len(ACCENTS) + 1)


def sample_at(stream: RestyleStream, index: int) -> StyleSample:
    """Sample `index`: a style on two training subjects of one set. A function of the stream's seed and the index."""
    rng = np.random.default_rng([stream.seed, index, 1])
    rows = stream.by_set[int(rng.choice(stream.sets, p=stream.set_shares))]
    x, y = (stream.data.images[int(row)] for row in rng.choice(rows, size=2))
    style = sample_style(rng)
    accent = 0 if style.accent is None else 1 + ACCENTS.index(style.accent.family)
    return StyleSample(
        plain_x=_with_silhouette(x),
        styled_x=apply_style(style, x),
        plain_y=_with_silhouette(y),
        styled_y=apply_style(style, y),
        family=FAMILIES.index(style.family),
        accent=accent,
    )


def losses_of(samples: Sequence[StyleSample], lesson: StyleLesson) -> Mapping[str, Tensor]:
    """Cross-entropies, and the L1 of recoloured silhouettes to the truth, both ways."""
    styled = to_float(np.stack([each.styled_y for each in samples]))
    embedding, transforms = lesson.encoder(styled)
    seen = F.silu(embedding)
    families = torch.tensor([each.family for each in samples])
    accents = torch.tensor([each.accent for each in samples])
    names = F.cross_entropy(lesson.family(seen), families) + F.cross_entropy(lesson.accent(seen), accents)
    x, y = (np.stack([getattr(each, name) for each in samples]) for name in ("plain_x", "plain_y"))
    target = to_float(np.stack([each.styled_x for each in samples]))
    return {
        "names": FAMILY_WEIGHT * names,
        "stylize": _recolour_error(transforms[:, 0], to_float(x[..., :3]), target, x[..., 3]),
        "destylize": _recolour_error(transforms[:, 1], styled, to_float(y[..., :3]), y[..., 3]),
    }


def learn_styles(encoder: StyleEncoder, stream: RestyleStream, work: Path, *, plan: Plan = PLAN) -> FitResult:
    """Teach `encoder`, in place, with checkpoint and log in `work`; at the end it has the averaged weights."""
    lesson = StyleLesson(encoder)
    state = TrainState(lesson, torch.optim.AdamW(lesson.parameters(), lr=plan.peak_lr), Ema(lesson, decay=0.99))
    result = fit(
        state,
        batch_at=lambda step: [sample_at(stream, step * BATCH + offset) for offset in range(BATCH)],
        losses_of=lambda samples: losses_of(samples, lesson),
        plan=plan,
        checkpoint=work / "checkpoint.pt",
        log=MetricsLog(work / "metrics.jsonl"),
    )
    assert state.ema is not None
    averaged = {name.removeprefix("encoder."): value for name, value in state.ema.shadow.items() if "encoder." in name}
    encoder.load_state_dict(averaged)
    return result


def _recolour_error(transform: Tensor, image: Tensor, target: Tensor, alpha: NDArray[np.uint8]) -> Tensor:
    """Mean L1, over the silhouette, of the image plus its transform to the target; alpha is (B, 64, 64)."""
    image, target = image[..., ::_EVERY, ::_EVERY], target[..., ::_EVERY, ::_EVERY]
    inside = torch.from_numpy(alpha[:, None, ::_EVERY, ::_EVERY] > 127).float()
    change = torch.einsum("boc,bchw->bohw", transform[..., :3].float(), image) + transform[..., 3, None, None].float()
    error = (image + change - target).abs() * inside
    return error.sum() / (3 * inside.sum().clamp(min=1))


def _with_silhouette(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.concatenate([plain(rgba), rgba[..., 3:]], axis=-1)
