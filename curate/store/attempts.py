"""A journal of started work: how a block or unit that kills its worker is noticed.

One file a name, one byte an attempt: appending a byte needs no temporary file and survives any crash between begin and
commit. The commit removes the file, so a name that is still here was begun and never finished.
"""

from __future__ import annotations

import os
from pathlib import Path

from curate.errors import StoreError


class Attempts:
    """Counts of attempts by stage and id (of a block or a unit)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def begin(self, work_id: str, *, stage: str) -> int:
        """Note that work begins; the number of this attempt, from 1."""
        path = self._path(work_id, stage)
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

    def clear(self, work_id: str, *, stage: str) -> None:
        """Forget the attempts: the work is committed, or is to be tried afresh."""
        self._path(work_id, stage).unlink(missing_ok=True)

    def _path(self, work_id: str, stage: str) -> Path:
        return self.folder / f"{stage}-{work_id}"
