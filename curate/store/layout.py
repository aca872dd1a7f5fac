"""Where things lie in a run directory, and the sweeping of temporary files that dead processes left."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from curate.files import is_remote

TEMPORARY = re.compile(r"^\..+\.(\d+)\.tmp$")
"""Temporary names of ``curate.files.write_atomic``: the number is the writer's process id."""


@dataclass(frozen=True, slots=True)
class RunPaths:
    """Paths of a run directory. Only this class spells them."""

    root: Path

    @property
    def run_json(self) -> Path:
        """What this run is; written last when a run directory is made."""
        return self.root / "run.json"

    @property
    def candidates(self) -> Path:
        """Folder of the candidates' images."""
        return self.root / "candidates"

    @property
    def ledger(self) -> Path:
        """Folder of the candidates' rows: apart from the images, so that listing it stays cheap."""
        return self.root / "ledger"

    @property
    def all_scores(self) -> Path:
        """Folder of all scorers' folders."""
        return self.root / "scores"

    @property
    def embeddings(self) -> Path:
        """Vectors of targets by scorer, for selections; they can be made again."""
        return self.root / "embeddings"

    @property
    def attempts(self) -> Path:
        """Folder of the journal of started and not yet committed work."""
        return self.root / "attempts"

    @property
    def shards(self) -> Path:
        """The sealed dataset."""
        return self.root / "shards"

    @property
    def report(self) -> Path:
        """Statistics and pictures of the run."""
        return self.root / "report"

    def candidate_tar(self, block_id: str) -> Path:
        """Images of one candidate segment."""
        return self.candidates / f"seg-{block_id}.tar"

    def candidate_rows(self, block_id: str) -> Path:
        """Ledger rows of one candidate segment, until they are folded; beside a tar their existence is the commit."""
        return self.ledger / f"seg-{block_id}.parquet"

    def scores(self, scorer: str, fingerprint: str) -> Path:
        """Folder of one scorer at one fingerprint (of its config and model)."""
        return self.all_scores / f"{scorer}@{fingerprint}"


def sweep_temporary(root: Path) -> list[Path]:
    """Remove temporary files whose writer is no longer alive; returns them.

    Process ids belong to one machine: call this before workers start, not while other machines write here.
    """
    if is_remote(root):
        return []  # a PUT has no temporary name
    return sorted(_swept(root))


def _swept(folder: Path) -> Iterator[Path]:
    """One entry after the other: a list of a million names is 100 MB."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _swept(Path(entry.path))
            elif (match := TEMPORARY.match(entry.name)) and not _alive(int(match[1])):
                path = Path(entry.path)
                path.unlink(missing_ok=True)
                yield path


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
