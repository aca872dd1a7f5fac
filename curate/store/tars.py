"""Tars whose bytes depend on nothing but their members: no time, owner or host."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol, cast

from curate.errors import StoreError
from curate.files import read_range


class Extent(NamedTuple):
    """Where a member's data lie in its tar, in bytes: lets a reader fetch one image without walking the tar."""

    offset: int
    size: int


class Writable(Protocol):
    """All that writing a tar asks of a file."""

    def write(self, data: bytes, /) -> int: ...
    def tell(self) -> int: ...


class TarWriter:
    """Writes members to a binary file: mtime 0, uid and gid 0, no names, mode 0644, plain USTAR headers."""

    def __init__(self, file: Writable) -> None:
        self._tar = tarfile.open(fileobj=cast(BinaryIO, file), mode="w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115

    def add(self, name: str, data: bytes) -> Extent:
        """Append one member; where its data will be found."""
        member = tarfile.TarInfo(name)  # TarInfo's own defaults: mode 0644, mtime, uid and gid 0, empty owner names
        member.size = len(data)
        header_at = self.offset
        self._tar.addfile(member, io.BytesIO(data))
        return Extent(header_at + tarfile.BLOCKSIZE, len(data))

    @property
    def offset(self) -> int:
        """Bytes written so far."""
        return int(self._tar.offset)

    def close(self) -> None:
        """Write the end-of-archive blocks; the file itself stays open."""
        self._tar.close()


def build_tar(members: Iterable[tuple[str, bytes]]) -> tuple[bytes, dict[str, Extent]]:
    """A small tar in memory and the extent of each member."""
    buffer = io.BytesIO()
    writer = TarWriter(buffer)
    extents = {name: writer.add(name, data) for name, data in members}
    writer.close()
    return buffer.getvalue(), extents


def read_extents(path: Path, extents: Iterable[Extent]) -> list[bytes]:
    """The bytes at each extent. Raises StoreError when the file is absent or shorter than it must be."""
    wanted = list(extents)
    if not wanted:
        return []
    start, end = min(e.offset for e in wanted), max(e.offset + e.size for e in wanted)
    try:
        data = read_range(path, start, end)  # one read: a unit's images are neighbours, and a request may be dear
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(data) != end - start:
        raise StoreError(f"{path}: ends before byte {end}: the file was cut off")
    return [data[e.offset - start:e.offset - start + e.size] for e in wanted]
