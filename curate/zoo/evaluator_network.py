"""The evaluator's network: who drew it, in which style, what does it show. A small conv net, of another kind
than CSD and CLIP.

It judges the experts and scores nothing in the product, so that no expert is measured by the model that filters
its output.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.nn import functional as F

from filters.palette import Palette


@dataclass(frozen=True)
class Judgement:
    """For B images: `style` and `subject` unit vectors (B, D), `sets` logits (B, S) over the sets of the
    training."""

    style: Tensor
    subject: Tensor
    sets: Tensor


class Evaluator(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Residual conv levels at 32, 16, 8 and 4 px. Style: channel statistics of all levels and the palette; subject:
    the last level's map."""

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        set_names: tuple[str, ...],
        channels: tuple[int, ...] = (24, 48, 96, 128),
        embed_dim: int = 128,
        palette_dim: int = 64,
    ) -> None:
        super().__init__()
        widths = (12, *channels)
        self.levels = nn.ModuleList(
            _Level(before, after, stride=1 if level == 0 else 2)
            for level, (before, after) in enumerate(pairwise(widths))
        )
        self.palette = Palette(palette_dim)
        seen = 2 * sum(widths) + palette_dim
        self.style_head = nn.Sequential(nn.Linear(seen, 256), nn.SiLU(), nn.Linear(256, embed_dim))
        self.set_head = nn.Linear(embed_dim, len(set_names))
        last = channels[-1] * (32 >> (len(channels) - 1)) ** 2
        self.subject_head = nn.Sequential(nn.Linear(last, 256), nn.SiLU(), nn.Linear(256, embed_dim))

    def forward(self, image: Tensor) -> Judgement:
        """float (B, 3, 64, 64) in [-1, 1]."""
        features = F.pixel_unshuffle(image, 2)
        statistics = [_mean_and_std(features)]
        for level in self.levels:
            features = level(features)
            statistics.append(_mean_and_std(features))
        statistics.append(self.palette((image + 1) / 2).to(features.dtype))
        style = self.style_head(torch.cat(statistics, dim=1))
        subject = self.subject_head(features.flatten(1))
        return Judgement(
            style=F.normalize(style.float(), dim=1),
            subject=F.normalize(subject.float(), dim=1),
            sets=self.set_head(F.silu(style)).float(),
        )


class _Level(nn.Module):
    """Change width and size, then one residual block."""

    def __init__(self, before: int, after: int, *, stride: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(before, after, 3, stride=stride, padding=1)
        self.block = nn.Sequential(
            nn.GroupNorm(8, after),
            nn.SiLU(),
            nn.Conv2d(after, after, 3, padding=1),
            nn.GroupNorm(8, after),
            nn.SiLU(),
            nn.Conv2d(after, after, 3, padding=1),
        )

    def forward(self, features: Tensor) -> Tensor:
        entered = self.enter(features)
        out: Tensor = entered + self.block(entered)
        return out


def _mean_and_std(features: Tensor) -> Tensor:
    flat = features.float().flatten(2)
    return torch.cat([flat.mean(2), (flat.var(2, correction=0) + 1e-6).sqrt()], dim=1).to(features.dtype)
