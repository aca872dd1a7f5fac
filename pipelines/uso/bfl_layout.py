"""USO's released LoRA names <-> the names of diffusers and peft: pure maps on dicts of tensors.

    official  double_blocks.0.processor.qkv_lora1.down.weight      (rank, in)       one fused q, k, v; no alpha
              double_blocks.0.processor.qkv_lora1.up.weight        (3 hidden, rank)
    ours      transformer_blocks.0.attn.{to_q,to_k,to_v}.lora_A.weight  (rank, in)      as `get_peft_model_state_dict`
              transformer_blocks.0.attn.{to_q,to_k,to_v}.lora_B.weight  (hidden, rank)  names them, scale folded in

Both ways keep up @ down exactly. Reading copies the one `down` to q, k and v. Writing takes it back if the three A are
equal, as those of our trainings are; else (a LoRA of another trainer) it stacks them (up becomes block diagonal), which
triples the file's rank. The released loaders build all layers at one rank, that of the first `down`
(bytedance/USO@b6784d7, uso/flux/util.py, `get_lora_rank`) or their argument `lora_rank`; so every layer of a file is
padded with zeros to the largest. Padding gets no gradient: it stays zero in a training that goes on from such a file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Set

import torch
from torch import Tensor

from curate.errors import ModelError

Group = tuple[str, tuple[str, ...]]  # the official prefix, and our modules in the order of its rows

# (official blocks, our blocks, {official layer: our modules}); 1 is the image stream, 2 the text stream
LAYOUT: tuple[tuple[str, str, dict[str, tuple[str, ...]]], ...] = (
    (
        "double_blocks",
        "transformer_blocks",
        {
            "qkv_lora1": ("attn.to_q", "attn.to_k", "attn.to_v"),
            "proj_lora1": ("attn.to_out.0",),
            "qkv_lora2": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
            "proj_lora2": ("attn.to_add_out",),
        },
    ),
    (
        "single_blocks",
        "single_transformer_blocks",
        {
            "qkv_lora": ("attn.to_q", "attn.to_k", "attn.to_v"),
            "proj_lora": ("proj_out",),
        },
    ),
)


def groups_of(names: Iterable[str]) -> list[Group]:
    """The LoRA layers of every block that occurs in `names`, tensor or module names of either layout, in order."""
    listed = list(names)
    groups: list[Group] = []
    for theirs, ours, layers in LAYOUT:
        block = re.compile(rf"(?:{theirs}|{ours})\.(\d+)\.")
        indices = {int(found[1]) for name in listed if (found := block.match(name))}
        for index in sorted(indices):
            for layer, modules in layers.items():
                prefix = f"{theirs}.{index}.processor.{layer}"
                groups.append((prefix, tuple(f"{ours}.{index}.{module}" for module in modules)))
    return groups


def lora_to_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our LoRA names -> the released ones; see the module for shapes. The scale must be folded into lora_B.

    Raises ModelError for names that are missing from a block or belong to no block, and for an A and B of two ranks.
    """
    groups = groups_of(state)
    parts = [part for _, modules in groups for module in modules for part in _ours(module)]
    refuse_names(state.keys(), set(parts), source="LoRA state")
    fused = {}
    for prefix, modules in groups:
        downs = [state[f"{module}.lora_A.weight"] for module in modules]
        ups = [state[f"{module}.lora_B.weight"] for module in modules]
        for module, down, up in zip(modules, downs, ups, strict=True):
            _refuse_ranks(module, down, up)
        if all(torch.equal(downs[0], down) for down in downs[1:]):
            fused[prefix] = downs[0], torch.cat(ups)
        else:
            fused[prefix] = torch.cat(downs), torch.block_diag(*ups)  # type: ignore[no-untyped-call]
    rank = max((len(down) for down, _ in fused.values()), default=0)
    official = {}
    for prefix, (down, up) in fused.items():
        missing = rank - len(down)
        official[f"{prefix}.down.weight"] = torch.cat([down, down.new_zeros(missing, down.shape[1])])
        official[f"{prefix}.up.weight"] = torch.cat([up, up.new_zeros(len(up), missing)], dim=1)
    return official


def lora_from_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The released LoRA names -> ours, with scale 1 (lora_alpha = rank); see the module for shapes.

    Raises ModelError for names that are missing from a block or belong to no block, a down and up of two ranks, and a
    fused `up` whose rows are not three equal parts.
    """
    groups = groups_of(state)
    refuse_names(state.keys(), {part for prefix, _ in groups for part in _theirs(prefix)}, source="USO LoRA state")
    ours = {}
    for prefix, modules in groups:
        down, up = (state[name] for name in _theirs(prefix))
        _refuse_ranks(prefix, down, up)
        if len(up) % len(modules):
            raise ModelError(f"{prefix}.up.weight has {len(up)} rows, which are not {len(modules)} equal parts")
        for module, rows in zip(modules, up.chunk(len(modules)), strict=True):
            ours[f"{module}.lora_A.weight"] = down.clone()
            ours[f"{module}.lora_B.weight"] = rows.clone()
    return ours


def refuse_names(found: Set[str], expected: Set[str], *, source: str, faults: Iterable[str] = ()) -> None:
    """Raise ModelError that names `source`, what is missing and unexpected, and any further `faults`; else nothing."""
    told = [
        f"{kind}: {_listed(sorted(names))}"
        for kind, names in (("missing", expected - found), ("unexpected", found - expected), ("shapes", set(faults)))
        if names
    ]
    if told:
        raise ModelError(f"{source}: not a LoRA or projector that this model can hold; " + "; ".join(told))


def _ours(module: str) -> tuple[str, str]:
    return f"{module}.lora_A.weight", f"{module}.lora_B.weight"


def _theirs(prefix: str) -> tuple[str, str]:
    return f"{prefix}.down.weight", f"{prefix}.up.weight"


def _refuse_ranks(name: str, down: Tensor, up: Tensor) -> None:
    if down.ndim != 2 or up.ndim != 2 or len(down) != up.shape[1]:
        raise ModelError(f"{name}: {tuple(down.shape)} and {tuple(up.shape)} are not the two factors of one rank")


def _listed(names: list[str], most: int = 20) -> str:
    """All names, or the first of them and a count: another model's file misses hundreds."""
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
