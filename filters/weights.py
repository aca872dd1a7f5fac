"""Weights in single files: found here or on the hub, and read as tensors and nothing else."""

from __future__ import annotations

import argparse
import pickle
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import hf_hub_download
from safetensors import SafetensorError
from safetensors.torch import load_file

from curate.errors import ModelError
from curate.models import resolve_model


def weights_path(ref: str, revision: str | None = None) -> Path:
    """A path for ``zoo:NAME``, a path, or ``ORG/REPO/FILE`` on the hub (fetched, or found in its cache).

    ``HF_TOKEN``, ``HF_HOME`` and ``HF_HUB_OFFLINE`` mean what they mean to huggingface_hub.
    """
    path = Path(resolve_model(ref))
    parts = ref.split("/")
    if path.exists() or path.is_absolute() or len(parts) < 3:
        return path
    try:
        return Path(hf_hub_download("/".join(parts[:2]), "/".join(parts[2:]), revision=revision))
    except (OSError, ValueError) as error:
        raise ModelError(f"{ref}: neither a file here nor ORG/REPO/FILE that the hub gives: {error}") from error


def read_tensors(path: Path, *, what: str) -> dict[str, Any]:
    """The contents of a safetensors file or of a torch pickle; a pickle may hold tensors, plain values and a Namespace.

    ModelError, which says that it is not ``what``, for anything else; code in a pickle is never run.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with torch.serialization.safe_globals([argparse.Namespace]):  # training arguments in CSD's checkpoint
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ModelError(f"{path}: not {what}: {error}") from error
    if not isinstance(loaded, dict):
        raise ModelError(f"{path}: not {what}: it holds a {type(loaded).__name__}, not named tensors")
    return loaded
