"""Where files are: local paths and fsspec URLs (s3://, gs://, hf://, memory:// ...), folders, globs and braces.

Credentials and endpoints come from fsspec's own configuration (environment or ``~/.config/fsspec``), never from ours.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import fsspec
from braceexpand import braceexpand
from fsspec.core import url_to_fs
from fsspec.utils import glob_translate

from curate.errors import SourceError

_SPECIAL = re.compile(r"[*?{]")


class Location(NamedTuple):
    """A folder in a file system; ``files`` are named relative to it."""

    fs: Any  # fsspec.AbstractFileSystem, which has no types
    root: str
    url: str
    """The folder as the user wrote it, for messages and uris."""

    def path_of(self, name: str) -> str:
        """What the file system calls the file."""
        return f"{self.root}/{name}"

    def uri_of(self, name: str) -> str:
        """What people call the file."""
        return f"{self.url}/{name}"

    def files(self, patterns: Sequence[str]) -> list[str]:
        """Files that match any pattern (``**`` crosses folders, case does not matter), sorted; hidden ones left out."""
        try:
            if not self.fs.isdir(self.root or "/"):
                raise SourceError(f"{self.url}: no such folder (paths are relative to where the command runs)")
            paths = self.fs.find(self.root)
        except OSError as error:
            raise SourceError(f"{self.url}: cannot be listed: {error.strerror or error}") from error
        names = [str(path)[len(self.root):].lstrip("/") for path in paths]
        wanted = re.compile("|".join(glob_translate(p) for p in patterns), re.IGNORECASE)
        return sorted(n for n in names if wanted.match(n) and not any(part.startswith(".") for part in n.split("/")))

    def read(self, name: str, start: int | None = None, end: int | None = None) -> bytes:
        """The bytes of a file, or of the part [start, end). OSError as the file system raises it."""
        data: bytes = self.fs.cat_file(self.path_of(name), start=start, end=end)
        return data


@lru_cache(maxsize=64)
def locate(url: str) -> Location:
    """The folder at a path or URL; SourceError where its kind of file system is unknown or not installed."""
    try:
        fs, root = url_to_fs(url)
    except (ValueError, ImportError) as error:
        raise SourceError(f"{url}: {error}") from error
    return Location(fs, str(root).rstrip("/"), url.rstrip("/"))


def split_pattern(path: str, ending: str) -> tuple[str, list[str]]:
    """A file, folder, glob or brace expression as (folder, patterns below it), by its text alone.

    ``data/{a,b}-*.tar`` -> ``data``, [``a-*.tar``, ``b-*.tar``]. Without special characters a path that ends with
    ``ending`` is a file and any other a folder, of which all files with that ending are meant.
    """
    special = _SPECIAL.search(path)
    if special is None and not path.endswith(ending):
        return path, [f"**/*{ending}"]
    folder, slash, rest = path[: special.start() if special else len(path)].rpartition("/")
    try:
        patterns = list(braceexpand(rest + (path[special.start():] if special else "")))
    except ValueError as error:
        raise SourceError(f"{path}: {error}") from error
    return folder + ("/" if slash and not folder else "") or ".", patterns


def read_url(url: str) -> bytes:
    """All bytes of a path or URL; SourceError where it cannot be had."""
    try:
        with fsspec.open(url, "rb") as f:
            data: bytes = f.read()
    except (OSError, ValueError, ImportError) as error:
        raise SourceError(f"{url}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    return data
