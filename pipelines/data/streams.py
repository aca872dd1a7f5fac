"""Opening shards wherever they are: local files, what webdataset's opener knows (http, gs), fsspec for the rest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import fsspec
from webdataset.gopen import Pipe, gopen, gopen_schemes

from curate.errors import SourceError

_OPENED_BY_WEBDATASET = set(gopen_schemes) - {"pipe", "__default__"}  # pipe: runs a shell command


@contextmanager
def open_stream(url: str) -> Iterator[BinaryIO]:
    """The bytes at a path or URL, to be read once from the front. Raises SourceError where they cannot be had."""
    try:
        stream = _open(url)
    except (OSError, ValueError, ImportError) as error:
        raise SourceError(f"{url}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    try:
        yield stream
    finally:
        _close(stream, url)


def _open(url: str) -> Any:
    if "://" not in url:
        return open(url, "rb")
    if url.partition("://")[0] in _OPENED_BY_WEBDATASET:
        return gopen(url)
    return fsspec.open(url, "rb").open()  # s3 among them: gopen has no handler for it


def _close(stream: Any, url: str) -> None:
    """Close; a download that failed (webdataset's is a child process) says so only now."""
    try:
        stream.close()
    except OSError as error:
        if not isinstance(stream, Pipe):
            raise SourceError(f"{url}: cannot be read: {error}") from error
        program = stream.args[0][0][0]  # no more of the command line: it may hold a token
        raise SourceError(f"{url}: cannot be read: {program} ended with status {stream.status}") from None
