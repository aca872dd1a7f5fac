"""Files that are whole or absent: write to a temporary name, fsync, rename. Paths may be local or any fsspec URL."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import fsspec

from curate.errors import StoreError


def write_atomic(path: Path, data: bytes) -> None:
    """Put ``data`` at ``path`` so that a reader (or a crash) sees all of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tmp = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(tmp, "wb") as f:
            f.write(data)
            f.flush()
            os.fsync(f.fileno())
        os.replace(tmp, path)
    except OSError as error:
        tmp.unlink(missing_ok=True)
        raise StoreError(f"{path}: cannot be written: {error.strerror or error}") from error


def write_json(path: Path, value: Any) -> None:
    """Sorted, indented JSON, atomically: the same value gives the same bytes."""
    write_atomic(path, (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode())


def read_bytes(url: str) -> bytes:
    """All bytes of a local path or fsspec URL (s3://, gs://, https://, memory:// ...)."""
    with fsspec.open(url, "rb") as f:
        data: bytes = f.read()
    return data
