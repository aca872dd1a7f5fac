"""Weights in pickles run code when they are opened carelessly: none is, unless the config names it."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Literal

from curate.errors import ModelError

SUFFIXES = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl"})


def safetensors_only(model: str, allowed: Collection[str]) -> Literal[True] | None:
    """What the loaders' ``use_safetensors`` must be for a model: True, or None where pickles may be opened too.

    That is the case in a local folder whose pickles are all ``allowed`` (names relative to it); torch then opens them
    with weights_only. ModelError names pickles that are not allowed: a loader would take whichever it finds.
    """
    folder = Path(model)
    if not allowed or not folder.is_dir():
        return True
    found = {str(f.relative_to(folder)) for f in folder.rglob("*") if f.suffix in SUFFIXES}
    if strangers := sorted(found - set(allowed)):
        raise ModelError(f"{folder}: holds pickles that the config does not allow: {', '.join(strangers)}; convert "
                         "them to safetensors, or name them under pickles if you trust them")
    return None
