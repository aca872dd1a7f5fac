"""Files that are whole or absent, on a disk or in an object store.

On a disk: write to a temporary name, fsync, rename. In an object store (s3://, gs://, az://, any fsspec URL) a path is
a ``UPath``: it has pathlib's methods, a single PUT is whole or absent by itself, and there is no rename. What differs
between the two is in this file and nowhere else.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath
from typing import Any, BinaryIO, cast

import fsspec

from curate.errors import StoreError


def as_path(where: str | Path) -> Path:
    """A local path, or for a URL (``s3://bucket/run``) an object that has a Path's methods.

    Listings are never cached: other machines write there too. Raises StoreError where the library for the scheme is
    missing.
    """
    if isinstance(where, Path) or "://" not in str(where):
        return Path(where) if isinstance(where, str) else where
    from upath import UPath

    try:
        remote = UPath(where, use_listings_cache=False)
        _ = remote.fs  # loads the scheme's library
    except (ImportError, ValueError) as error:
        raise StoreError(f"{where}: cannot be opened: {error}") from error
    return cast(Path, remote)


def is_remote(path: Path) -> bool:
    """Whether the path is in an object store."""
    return not isinstance(path, PurePath)


def make_folder(folder: Path) -> None:
    """A folder with its parents; object stores have none."""
    if not is_remote(folder):
        folder.mkdir(parents=True, exist_ok=True)


def remove_tree(folder: Path) -> None:
    """Remove a folder and all in it, if it is there."""
    if is_remote(folder):
        with contextlib.suppress(FileNotFoundError):
            cast(Any, folder).fs.rm(cast(Any, folder).path, recursive=True)
    else:
        shutil.rmtree(folder, ignore_errors=True)


def list_files(folder: Path) -> dict[str, tuple[str, int]]:
    """Name -> (stamp, bytes) of the files in a folder; another stamp: written again. Empty where there is no folder.

    Raises OSError.
    """
    try:
        if is_remote(folder):
            found = cast(Any, folder).fs.ls(cast(Any, folder).path, detail=True, refresh=True)
            return {entry["name"].rpartition("/")[2]: (str(entry.get("ETag") or entry.get("mtime") or entry.get(
                "LastModified") or entry.get("created")), int(entry["size"] or 0))
                    for entry in found if entry["type"] == "file"}
        with os.scandir(folder) as entries:
            return {entry.name: (str(entry.stat().st_mtime_ns), entry.stat().st_size) for entry in entries
                    if entry.is_file()}
    except FileNotFoundError:
        return {}


def list_names(folder: Path, ending: str) -> Iterator[str]:
    """Names of the files in a folder that end so, without looking at the files. Raises OSError."""
    if is_remote(folder):
        yield from (name for name in list_files(folder) if name.endswith(ending))
        return
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(ending):
                yield entry.name


def remove_files(folder: Path, names: Iterable[str]) -> None:
    """Remove files of a folder, in few requests where it is in an object store. Raises OSError."""
    if is_remote(folder):
        where = cast(Any, folder)
        if paths := [f"{where.path.rstrip('/')}/{name}" for name in names]:
            where.fs.rm(paths)
    else:
        for name in names:
            (folder / name).unlink(missing_ok=True)


def copy_file(source: Path, target: Path) -> None:
    """Within one object store: the server copies, and the target is whole or absent."""
    cast(Any, source).fs.copy(cast(Any, source).path, cast(Any, target).path)


def read_range(path: Path, start: int, end: int) -> bytes:
    """Bytes from ``start`` to before ``end``, fewer where the file ends earlier. Raises OSError."""
    if is_remote(path):
        data: bytes = cast(Any, path).fs.cat_file(cast(Any, path).path, start=start, end=end)
        return data
    with open(path, "rb") as f:
        f.seek(start)
        return f.read(end - start)


def append_line(path: Path, line: str) -> None:
    """Add a line to a text file with one writer; an object is written anew as a whole."""
    if is_remote(path):
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        write_atomic(path, f"{before}{line}\n".encode())
    else:
        with open(path, "a", encoding="utf-8") as f:
            f.write(line + "\n")


def write_atomic(path: Path, data: bytes) -> None:
    """Put ``data`` at ``path`` so that a reader (or a crash) sees all of it or nothing."""
    if is_remote(path):
        _put(path, data)
        return
    with writing(path) as f:
        f.write(data)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """A file to write piece by piece, which takes its name whole at the end; nothing is left of it after an error.

    For an object store it is written to a local temporary file first and then sent.
    """
    if is_remote(path):
        with tempfile.NamedTemporaryFile() as f:
            yield cast(BinaryIO, f)
            f.flush()
            _send(Path(f.name), path)
        return
    tmp = unfinished(path)
    try:
        with explaining_writes(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(tmp, "wb") as f:
                yield f
                f.flush()
                os.fsync(f.fileno())
            tmp.replace(path)
    finally:
        with contextlib.suppress(OSError):
            tmp.unlink(missing_ok=True)


def unfinished(path: Path) -> Path:
    """Where a file is written before it takes its name: hidden, beside it.

    The token keeps apart two machines on a shared disk whose writers have one process id, as in containers.
    """
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.{os.getpid()}.tmp")


def _send(local: Path, path: Path) -> None:
    try:
        cast(Any, path).fs.put_file(str(local), cast(Any, path).path)
    except Exception as error:
        raise _not_sent(path, error) from error


def _put(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except Exception as error:
        raise _not_sent(path, error) from error


def _not_sent(path: Path, error: Exception) -> StoreError:
    """Each store's client has errors of its own, many of them no OSError."""
    return StoreError(f"{path}: cannot be written: {type(error).__name__}: {error}; look at the address, the rights "
                      "and the network, then run the same command again")


def is_there(path: Path) -> bool:
    """Whether a path is known to exist: also where the disk cannot say, a shared one for a moment, it is no error."""
    try:
        return path.exists()
    except OSError:
        return False


@contextlib.contextmanager
def explaining_writes(path: Path, *others: type[Exception]) -> Iterator[None]:
    """Turn an OSError of what is written inside into a StoreError that names the path and what to do; and likewise
    ``others``, the errors by which a library tells of a full disk."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {write_advice(error)}") from error
    except others as error:
        raise StoreError(f"{path}: cannot be written: {error}; is the disk full? Free some space, then run the same "
                         "command again: it goes on where it stopped") from error


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
