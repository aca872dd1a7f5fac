"""A journal of started work: how a block or unit that kills its worker is noticed.

One file a name, one byte an attempt: appending a byte needs no temporary file and survives any crash between begin and
commit (an object is put again with one byte more). The commit removes the file, so a name that is still here was begun
and never finished.
"""

from __future__ import annotations

import os
from pathlib import Path

from curate.errors import StoreError
from curate.files import is_remote, list_files, write_atomic


class Attempts:
    """Counts of attempts by stage and id (of a block or a unit)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def begin(self, work_id: str, *, stage: str) -> int:
        """Note that work begins; the number of this attempt, from 1."""
        path = self._path(work_id, stage)
        if is_remote(path):
            write_atomic(path, b"." * (self.count(work_id, stage=stage) + 1))
            return self.count(work_id, stage=stage)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with open(path, "ab") as f:
                f.write(b".")
                f.flush()
                os.fsync(f.fileno())
                return f.tell()
        except OSError as error:
            raise StoreError(f"{path}: cannot be written: {error.strerror}") from error

    def count(self, work_id: str, *, stage: str) -> int:
        """Attempts begun and not committed."""
        try:
            return self._path(work_id, stage).stat().st_size
        except FileNotFoundError:
            return 0

    def clear(self, *work_ids: str, stage: str) -> None:
        """Forget the attempts: the work is committed, or is to be tried afresh."""
        paths = [self._path(work_id, stage) for work_id in work_ids]
        there = list_files(self.folder) if is_remote(self.folder) else None  # one request, not one for each unit
        for path in paths:
            if there is None or path.name in there:
                path.unlink(missing_ok=True)

    def _path(self, work_id: str, stage: str) -> Path:
        return self.folder / f"{stage}-{work_id}"
