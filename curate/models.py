"""Where a model reference leads: ``zoo:NAME`` is a folder shipped with the package, all else a path or hub id."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from curate.errors import ModelError

ZOO = Path(__file__).parent / "zoo" / "weights"


def resolve_model(ref: str) -> str:
    """Path of a ``zoo:NAME`` model; any other reference (local path, hub id) unchanged."""
    if not ref.startswith("zoo:"):
        return ref
    folder = ZOO / ref.removeprefix("zoo:")
    if not folder.is_dir():
        names = ", ".join(sorted(p.name for p in ZOO.iterdir() if p.is_dir())) if ZOO.is_dir() else "none"
        raise ModelError(f"{ref}: no such model in the zoo (there are: {names}); build it with `curate zoo build`")
    return str(folder)


@lru_cache(maxsize=64)
def model_hash(ref: str, revision: str | None = None) -> str:
    """16 hex digits that change when the model does.

    A local folder or file is hashed by content (names and bytes, README.md left out); a hub id by id and revision.
    """
    path = Path(resolve_model(ref))
    h = hashlib.blake2b(digest_size=8)
    if not path.exists():
        h.update(f"{ref}@{revision}".encode())
        return h.hexdigest()
    base = path if path.is_dir() else path.parent
    files = sorted(p for p in path.rglob("*") if p.is_file() and p.name != "README.md") if path.is_dir() else [path]
    for file in files:
        h.update(str(file.relative_to(base)).encode())
        h.update(hashlib.blake2b(file.read_bytes(), digest_size=16).digest())
    return h.hexdigest()
