"""Weights that lie in pieces on several devices (FSDP2): cut, whole for a while, whole for files, cut from files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor


def shard(module: nn.Module, blocks: Sequence[nn.Module], *, whole: Sequence[nn.Module] = ()) -> None:
    """Cut a module's weights over torch.distributed's default group, in place; each block is gathered by itself when it
    computes. `whole`: frozen parts that every process keeps. Optimisers come afterwards: parameters are others then."""
    ignored = {parameter for part in whole for parameter in part.parameters()}
    for each in blocks:
        fully_shard(each)
    fully_shard(module, ignored_params=ignored)


@contextmanager
def gathered_outside_blocks(module: nn.Module) -> Iterator[None]:
    """Inside, what lies outside the blocks is whole, so that other code than the module's own `forward` may call its
    parts; blocks gather themselves. All members must go through it alike. Nothing happens to a module that is whole."""
    if not isinstance(module, FSDPModule):
        yield
        return
    module.unshard()
    try:
        yield
    finally:
        module.reshard()


def gathered(tree: Any) -> Any:
    """The same mappings, lists and numbers with cut tensors whole, on the CPU; all members must call it."""
    if isinstance(tree, DTensor):
        return tree.full_tensor().cpu()
    if isinstance(tree, Mapping):
        return {key: gathered(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(gathered(value) for value in tree)
    return tree


def placed(value: Tensor, like: Tensor) -> Tensor:
    """A whole tensor cut as `like` is; itself, where that is whole."""
    if not isinstance(like, DTensor):
        return value
    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements)
