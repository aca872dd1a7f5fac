"""Replacing the sealed folder as a set: the new one is built beside it, then the names are swapped.

Two renames are not one, so a crash between them can leave no folder of the final name; the old one then stands as
``shards.old`` and the next seal begins by putting it back. Shards of two seals are never mixed.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from curate.errors import StoreError

DATASET_JSON = "dataset.json"
INDEX = "index.parquet"
CARD = "README.md"


def staging_folder(final: Path) -> Path:
    """Where the next set is built."""
    return final.with_name(final.name + ".tmp")


def retired_folder(final: Path) -> Path:
    """Where the former set stands during the swap."""
    return final.with_name(final.name + ".old")


def mend(final: Path) -> None:
    """Undo what an interrupted seal left: put the old set back if it has no name, remove what was being built."""
    retired = retired_folder(final)
    if retired.exists() and not final.exists():
        retired.rename(final)
    shutil.rmtree(retired, ignore_errors=True)
    shutil.rmtree(staging_folder(final), ignore_errors=True)


def check_replaceable(final: Path) -> None:
    """StoreError when ``final`` holds files that no seal wrote: they would be deleted."""
    if final.exists() and not (final / DATASET_JSON).is_file() and any(final.iterdir()):
        raise StoreError(f"{final}: holds files but no {DATASET_JSON}: not a sealed dataset; move it away first")


def publish(final: Path) -> None:
    """Give the staged set its final name and delete the former one. Raises OSError."""
    staged, retired = staging_folder(final), retired_folder(final)
    _sync_folder(staged)
    if final.exists():
        final.rename(retired)
    try:
        staged.rename(final)
    except OSError:
        if retired.exists():
            retired.rename(final)
        raise
    _sync_folder(final.parent)
    shutil.rmtree(retired, ignore_errors=True)


def _sync_folder(folder: Path) -> None:
    """Make renames in a folder last through a power cut (where the system can)."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
