"""Features that frozen models made of samples (VAE latents, SigLIP states, text embeddings), kept on disk."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from curate.errors import StoreError
from curate.files import write_atomic
from curate.seeds import digest

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")


class FeatureCache:
    """One safetensors file a sample: ``folder/fingerprint/<2 hex digits>/<hash of the key>.safetensors``.

    ``fingerprint`` names all that the features depend on besides the key (models, sizes, crops), so features of another
    setting are never found; ValueError if it is no plain file name. Files are whole or absent, so processes may write
    the same key at once: one of them wins, and what it wrote is the same.
    """

    def __init__(self, folder: Path, *, fingerprint: str) -> None:
        if not _PLAIN_NAME.fullmatch(fingerprint):
            raise ValueError(f"fingerprint {fingerprint!r} is not a plain name")
        self._folder = folder / fingerprint

    def get(self, key: str) -> dict[str, Tensor] | None:
        """The tensors as they were put, on the CPU; None where there are none. StoreError for a damaged file."""
        path = self._path(key)
        try:
            return load(path.read_bytes())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"{path}: cannot be read: {error.strerror}") from error
        except SafetensorError as error:
            raise StoreError(f"{path}: damaged ({error}): delete this file, its features are then made anew") from error

    def put(self, key: str, tensors: Mapping[str, Tensor]) -> None:
        """Keep the tensors in the precision they have. StoreError when the disk is full or cannot be written."""
        # a clone each: safetensors refuses tensors that share memory, as rows of one batch do
        own = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
        write_atomic(self._path(key), save(own))

    def _path(self, key: str) -> Path:
        name = digest("feature", key)
        return self._folder / name[:2] / f"{name}.safetensors"
