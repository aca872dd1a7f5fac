"""Files that are whole or absent: write to a temporary name, fsync, rename. Paths may be local or any fsspec URL."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from pathlib import Path
from typing import Any

import fsspec

from curate.errors import StoreError


def write_atomic(path: Path, data: bytes) -> None:
    """Put ``data`` at ``path`` so that a reader (or a crash) sees all of it or nothing."""
    tmp = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(tmp, "wb") as f:
            f.write(data)
            f.flush()
            os.fsync(f.fileno())
        tmp.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            tmp.unlink(missing_ok=True)
        raise StoreError(f"{path}: cannot be written: {write_advice(error)}") from error


def write_advice(error: OSError) -> str:
    """What went wrong with a write and what the user can do about it."""
    says = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{says}; free some space, then run the same command again: it goes on where it stopped"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{says}; make the directory writable or choose another one"
    return says


def write_json(path: Path, value: Any) -> None:
    """Sorted, indented JSON, atomically: the same value gives the same bytes."""
    write_atomic(path, (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode())


def read_bytes(url: str) -> bytes:
    """All bytes of a local path or fsspec URL (s3://, gs://, https://, memory:// ...)."""
    with fsspec.open(url, "rb") as f:
        data: bytes = f.read()
    return data
