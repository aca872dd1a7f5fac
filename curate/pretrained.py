"""Models of the hub opened without surprises: no pickle unless the config names it, and networks whole or refused.

Weights in pickles run code when they are opened carelessly, and transformers fills what a file lacks with random
numbers. Code of a model repository is never run.
"""

from __future__ import annotations

import pickle
from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal

from curate.errors import ModelError

SUFFIXES = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl"})
HUB_PICKLE = "pytorch_model.bin"
"""The pickle that transformers takes from a hub id without safetensors."""
MAX_LISTED = 4  # keys named in an error


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


def load_whole(cls: Any, model: str, *, revision: str | None = None, pickles: Collection[str] = (),
               **arguments: Any) -> Any:
    """``cls.from_pretrained`` of transformers for inference, from safetensors.

    ``pickles``: files that may be opened too, see ``safetensors_only``; of a hub id that is ``pytorch_model.bin``.
    ModelError where the files cannot be loaded or lack a tensor.
    """
    safe = None if HUB_PICKLE in pickles and not Path(model).exists() else safetensors_only(model, pickles)
    try:
        network, info = cls.from_pretrained(
            model, revision=revision, output_loading_info=True, trust_remote_code=False, use_safetensors=safe,
            **arguments
        )
    except (OSError, ValueError, RuntimeError, pickle.UnpicklingError) as error:
        hint = f" (only safetensors are opened; a pickle that you trust: pickles: [{HUB_PICKLE}])" if safe else ""
        raise ModelError(f"{model}: cannot be loaded by transformers{hint}: {error}") from error
    if missing := sorted(info["missing_keys"]):
        raise ModelError(
            f"{model}: not a whole {type(network).__name__}: {len(missing)} tensors missing {missing[:MAX_LISTED]}"
        )
    return network.eval().requires_grad_(False)
