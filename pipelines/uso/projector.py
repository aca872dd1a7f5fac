"""Style projectors: hidden states of a vision encoder -> style tokens for the transformer.

The released one is `HierarchicalProjector` (bytedance/USO@b6784d7: 64 tokens from each of three levels). `MlpProjector`
and `ResamplerProjector` are the paper's ablations (CSD .277 and .336 against .402); their inner sizes are undisclosed
and our choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.nn import functional

ProjectorKind = Literal["hierarchical", "resampler", "mlp"]
LEVELS = ("high", "mid", "low")


class StyleProjector(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """States of the levels `hidden_states[i] for i in levels`, each (B, vision_tokens, vision_dim) -> (B, n, hidden).

    `levels` counts from the end as SigLIP's `hidden_states` does: (-2, -11, -20) at full size, high to low.
    n is `tokens_per_level` times the number of levels that the kind reads: all for hierarchical, else the first alone.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        kind: ProjectorKind = "hierarchical",
        levels: tuple[int, ...] = (-2, -11, -20),
        vision_tokens: int = 729,
        vision_dim: int = 1152,
        tokens_per_level: int = 64,
        hidden_dim: int = 3072,
        heads: int = 16,
        depth: int = 2,
    ) -> None:
        super().__init__()
        if kind == "hierarchical":
            if len(levels) != len(LEVELS):
                raise ValueError(f"a hierarchical projector reads {len(LEVELS)} levels, not {len(levels)}")
            for name in LEVELS:
                condense = nn.Sequential(nn.Linear(vision_tokens, tokens_per_level), nn.SiLU())
                self.add_module(f"{name}_embedding_linear", condense)
                self.add_module(f"{name}_layer_norm", nn.LayerNorm(vision_dim))
                self.add_module(f"{name}_projection", nn.Linear(vision_dim, hidden_dim))
        elif kind == "resampler":
            self.queries = nn.Parameter(torch.randn(tokens_per_level, vision_dim) * vision_dim**-0.5)
            self.layers = nn.ModuleList(_CrossLayer(vision_dim, heads) for _ in range(depth))
            self.layer_norm = nn.LayerNorm(vision_dim)
            self.projection = nn.Linear(vision_dim, hidden_dim)
        elif kind == "mlp":
            self.condense = nn.Linear(vision_tokens, tokens_per_level)
            self.layer_norm = nn.LayerNorm(vision_dim)
            self.hidden = nn.Linear(vision_dim, hidden_dim)
            self.projection = nn.Linear(hidden_dim, hidden_dim)
        else:
            raise ValueError(f"unknown projector kind {kind!r}; known: hierarchical, resampler, mlp")

    @property
    def num_tokens(self) -> int:
        """Style tokens of one image."""
        levels = len(self.config.levels) if self.config.kind == "hierarchical" else 1
        return int(self.config.tokens_per_level * levels)

    def pick(self, hidden_states: Sequence[Tensor]) -> list[Tensor]:
        """The states that this projector reads, of all that the vision encoder gives."""
        levels = self.config.levels if self.config.kind == "hierarchical" else self.config.levels[:1]
        return [hidden_states[level] for level in levels]

    def forward(self, states: Sequence[Tensor]) -> Tensor:
        """What `pick` gave -> style tokens (B, num_tokens, hidden_dim)."""
        if self.config.kind == "hierarchical":
            return torch.cat([self._level(name, state) for name, state in zip(LEVELS, states, strict=True)], dim=1)
        (state,) = states
        if self.config.kind == "mlp":
            condensed = self.condense(state.transpose(1, 2)).transpose(1, 2)
            mixed: Tensor = self.projection(functional.gelu(self.hidden(self.layer_norm(condensed))))
            return mixed
        tokens = self.queries.expand(len(state), -1, -1)
        for layer in self.layers:
            tokens = layer(tokens, state)
        resampled: Tensor = self.projection(self.layer_norm(tokens))
        return resampled

    def _level(self, name: str, state: Tensor) -> Tensor:
        """Linear over the token axis and SiLU, LayerNorm, Linear over the channels."""
        condensed = self.get_submodule(f"{name}_embedding_linear")(state.transpose(1, 2)).transpose(1, 2)
        normed = self.get_submodule(f"{name}_layer_norm")(condensed)
        projected: Tensor = self.get_submodule(f"{name}_projection")(normed)
        return projected


class _CrossLayer(nn.Module):
    """Queries attend to the states and themselves, then a feed-forward (a Perceiver resampler layer, 2204.14198)."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm_tokens, self.norm_states, self.norm_out = (nn.LayerNorm(dim) for _ in range(3))
        self.attention = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.feed_forward = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, tokens: Tensor, states: Tensor) -> Tensor:
        query = self.norm_tokens(tokens)
        seen = torch.cat([self.norm_states(states), query], dim=1)
        tokens = tokens + self.attention(query, seen, seen, need_weights=False)[0]
        out: Tensor = tokens + self.feed_forward(self.norm_out(tokens))
        return out
