"""FLUX's published equations in plain torch, on black-forest-labs' and USO's names: what our model is held to.

black-forest-labs/flux src/flux/{model,math}.py and modules/layers.py; USO's processors add up @ down to the linears.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

DOUBLE, SINGLE = 2, 3
HEADS, HEAD_DIM, AXES = 2, 16, (4, 6, 6)
HIDDEN, MLP = HEADS * HEAD_DIM, 4 * HEADS * HEAD_DIM
IN_CHANNELS, TEXT_DIM, POOLED_DIM = 16, 24, 20
PATCHES, VISION_DIM, STYLE_TOKENS = 9, 12, 4  # style tokens of each of the three levels
State = dict[str, Tensor]


class PublishedFlux:
    """`weights` are the base's and the official LoRA's and projector's, in one dict."""

    def __init__(self, weights: State) -> None:
        self.weights = weights

    def linear(self, x: Tensor, name: str, lora: str | None = None) -> Tensor:
        out = F.linear(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])
        if lora is None:
            return out
        return out + x @ self.weights[f"{lora}.down.weight"].T @ self.weights[f"{lora}.up.weight"].T

    def embed(self, x: Tensor, name: str) -> Tensor:
        return self.linear(F.silu(self.linear(x, f"{name}.in_layer")), f"{name}.out_layer")

    def modulation(self, vec: Tensor, name: str, parts: int) -> tuple[Tensor, ...]:
        return self.linear(F.silu(vec), name)[:, None].chunk(parts, dim=-1)

    def heads(self, qkv: Tensor, norm: str) -> list[Tensor]:
        """(B, L, 3 hidden) -> q, k, v of (B, heads, L, head dim), q and k with RMS norm."""
        batch, length, _ = qkv.shape
        q, k, v = qkv.view(batch, length, 3, HEADS, HEAD_DIM).permute(2, 0, 3, 1, 4)
        return [rms(q, self.weights[f"{norm}.query_norm.scale"]), rms(k, self.weights[f"{norm}.key_norm.scale"]), v]

    def double(self, img: Tensor, txt: Tensor, vec: Tensor, turns: Tensor, index: int) -> tuple[Tensor, Tensor]:
        name, lora = f"double_blocks.{index}", f"double_blocks.{index}.processor"
        streams = [("txt", 2, txt), ("img", 1, img)]  # text stands first in the joint attention
        mods = {s: self.modulation(vec, f"{name}.{s}_mod.lin", 6) for s, _, _ in streams}
        qkv = []
        for stream, number, x in streams:
            shift, scale, *_ = mods[stream]
            modulated = (1 + scale) * layer_norm(x) + shift
            fused = self.linear(modulated, f"{name}.{stream}_attn.qkv", f"{lora}.qkv_lora{number}")
            qkv.append(self.heads(fused, f"{name}.{stream}_attn.norm"))
        q, k, v = (torch.cat(parts, dim=2) for parts in zip(*qkv, strict=True))
        attended = attend(q, k, v, turns)
        out = []
        pieces = [attended[:, : txt.shape[1]], attended[:, txt.shape[1] :]]
        for (stream, number, x), piece in zip(streams, pieces, strict=True):
            _, _, gate, shift, scale, mlp_gate = mods[stream]
            x = x + gate * self.linear(piece, f"{name}.{stream}_attn.proj", f"{lora}.proj_lora{number}")
            widened = self.linear((1 + scale) * layer_norm(x) + shift, f"{name}.{stream}_mlp.0")
            out.append(x + mlp_gate * self.linear(F.gelu(widened, approximate="tanh"), f"{name}.{stream}_mlp.2"))
        return out[1], out[0]

    def single(self, x: Tensor, vec: Tensor, turns: Tensor, index: int) -> Tensor:
        name, lora = f"single_blocks.{index}", f"single_blocks.{index}.processor"
        shift, scale, gate = self.modulation(vec, f"{name}.modulation.lin", 3)
        modulated = (1 + scale) * layer_norm(x) + shift
        qkv, mlp = self.linear(modulated, f"{name}.linear1").split([3 * HIDDEN, MLP], dim=-1)
        down, up = (self.weights[f"{lora}.qkv_lora.{part}.weight"] for part in ("down", "up"))
        q, k, v = self.heads(qkv + modulated @ down.T @ up.T, f"{name}.norm")
        joined = torch.cat([attend(q, k, v, turns), F.gelu(mlp, approximate="tanh")], dim=-1)
        return x + gate * self.linear(joined, f"{name}.linear2", f"{lora}.proj_lora")

    def style_tokens(self, levels: list[Tensor]) -> Tensor:
        tokens = []
        for level, x in zip(("high", "mid", "low"), levels, strict=True):
            name = f"feature_embedder.{level}"
            weight, bias = (self.weights[f"{name}_embedding_linear.0.{part}"] for part in ("weight", "bias"))
            condensed = F.silu(torch.einsum("st,btd->bsd", weight, x) + bias[:, None])
            scale, shift = (self.weights[f"{name}_layer_norm.{part}"] for part in ("weight", "bias"))
            normed = F.layer_norm(condensed, (VISION_DIM,), scale, shift)
            tokens.append(self.linear(normed, f"{name}_projection"))
        return torch.cat(tokens, dim=1)

    def __call__(self, inputs: dict[str, Tensor], levels: list[Tensor]) -> Tensor:
        img = self.linear(inputs["hidden_states"], "img_in")
        style = self.style_tokens(levels)
        txt = torch.cat([style, self.linear(inputs["encoder_hidden_states"], "txt_in")], dim=1)
        vec = self.embed(sinusoid(inputs["timestep"]), "time_in") + self.embed(
            sinusoid(inputs["guidance"]), "guidance_in"
        )
        vec = vec + self.embed(inputs["pooled_projections"], "vector_in")
        turns = rope(torch.cat([torch.zeros(txt.shape[1], 3), inputs["img_ids"]]))
        for index in range(DOUBLE):
            img, txt = self.double(img, txt, vec, turns, index)
        x = torch.cat([txt, img], dim=1)
        for index in range(SINGLE):
            x = self.single(x, vec, turns, index)
        shift, scale = self.modulation(vec, "final_layer.adaLN_modulation.1", 2)
        return self.linear((1 + scale) * layer_norm(x[:, txt.shape[1] :]) + shift, "final_layer.linear")


def layer_norm(x: Tensor) -> Tensor:
    return (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + 1e-6).sqrt()


def rms(x: Tensor, scale: Tensor) -> Tensor:
    return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * scale


def sinusoid(t: Tensor) -> Tensor:
    """256 numbers for each of (B,): cosines, then sines, of 1000 t."""
    angles = 1000 * t[:, None] * 10000 ** -(torch.arange(128) / 128)
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


def rope(ids: Tensor) -> Tensor:
    """ids (L, 3) -> unit complex (L, head dim / 2): pairs of channels turn by position / 10000^(2 i / axis dim)."""
    angles = [
        ids[:, axis, None].double() * 10000.0 ** -(torch.arange(0, dim, 2).double() / dim)
        for axis, dim in enumerate(AXES)
    ]
    angle = torch.cat(angles, dim=-1)
    return torch.polar(torch.ones_like(angle), angle)


def attend(q: Tensor, k: Tensor, v: Tensor, turns: Tensor) -> Tensor:
    """(B, heads, L, d) each -> (B, L, hidden): neighbouring channels are turned as complex numbers, then softmax."""

    def turned(x: Tensor) -> Tensor:
        pairs = torch.view_as_complex(x.double().unflatten(-1, (-1, 2)).contiguous())
        return torch.view_as_real(pairs * turns).flatten(-2).float()

    weights = (turned(q) @ turned(k).transpose(-1, -2) / HEAD_DIM**0.5).softmax(-1)
    return (weights @ v).transpose(1, 2).flatten(2)


def make_base() -> State:
    """Random base weights under black-forest-labs' names, all of them, none at a value that hides a mistake."""
    torch.manual_seed(7)
    linears = {
        "img_in": (IN_CHANNELS, HIDDEN),
        "txt_in": (TEXT_DIM, HIDDEN),
        "final_layer.linear": (HIDDEN, IN_CHANNELS),
    }
    linears["final_layer.adaLN_modulation.1"] = (HIDDEN, 2 * HIDDEN)
    for name, num_in in (("time_in", 256), ("guidance_in", 256), ("vector_in", POOLED_DIM)):
        linears[f"{name}.in_layer"], linears[f"{name}.out_layer"] = (num_in, HIDDEN), (HIDDEN, HIDDEN)
    norms = [f"single_blocks.{index}.norm" for index in range(SINGLE)]
    for index in range(DOUBLE):
        for stream in ("img", "txt"):
            name = f"double_blocks.{index}.{stream}"
            linears[f"{name}_mod.lin"] = (HIDDEN, 6 * HIDDEN)
            linears[f"{name}_attn.qkv"], linears[f"{name}_attn.proj"] = (HIDDEN, 3 * HIDDEN), (HIDDEN, HIDDEN)
            linears[f"{name}_mlp.0"], linears[f"{name}_mlp.2"] = (HIDDEN, MLP), (MLP, HIDDEN)
            norms.append(f"{name}_attn.norm")
    for index in range(SINGLE):
        name = f"single_blocks.{index}"
        linears[f"{name}.modulation.lin"] = (HIDDEN, 3 * HIDDEN)
        linears[f"{name}.linear1"], linears[f"{name}.linear2"] = (HIDDEN, 3 * HIDDEN + MLP), (HIDDEN + MLP, HIDDEN)
    base = {f"{name}.weight": torch.randn(o, i) / i**0.5 for name, (i, o) in linears.items()}
    base |= {f"{name}.bias": torch.randn(o) * 0.2 for name, (_, o) in linears.items()}
    for norm in norms:
        base |= {f"{norm}.{part}.scale": 1 + 0.3 * torch.randn(HEAD_DIM) for part in ("query_norm", "key_norm")}
    return base
