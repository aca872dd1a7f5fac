"""Replacing the sealed folder as a set: the new one is built beside it, then the names are swapped.

Two renames are not one, so a crash between them can leave no folder of the final name; the old one then stands as
``shards.old`` and the next seal begins by putting it back. Shards of two seals are never mixed.

Object stores have no rename. There the set is built beside the final one too, then dataset.json is replaced by a note
that the set is unfinished, the objects are copied by the server, and dataset.json comes last: a crash leaves a set that
says so, and the same command seals again.
"""

from __future__ import annotations

import os
from pathlib import Path

from curate.errors import StoreError
from curate.files import copy_file, is_remote, list_files, remove_tree, write_json

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
    if not is_remote(final) and retired.exists() and not final.exists():
        retired.rename(final)
    remove_tree(retired)
    remove_tree(staging_folder(final))


def check_replaceable(final: Path) -> None:
    """StoreError when ``final`` holds files that no seal wrote: they would be deleted."""
    if final.exists() and not (final / DATASET_JSON).is_file() and any(final.iterdir()):
        raise StoreError(f"{final}: holds files but no {DATASET_JSON}: not a sealed dataset; move it away first")


def publish(final: Path) -> None:
    """Give the staged set its final name and delete the former one. Raises OSError."""
    staged, retired = staging_folder(final), retired_folder(final)
    if is_remote(final):
        _publish_objects(staged, final)
        return
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
    remove_tree(retired)


def _publish_objects(staged: Path, final: Path) -> None:
    write_json(final / DATASET_JSON, {"unfinished": "a seal is on its way or was interrupted; seal again"})
    names = list(list_files(staged))
    for name in list_files(final):
        if name not in names:
            (final / name).unlink()
    for name in sorted(names, key=lambda name: name == DATASET_JSON):  # which says that the set is whole: last
        copy_file(staged / name, final / name)
    remove_tree(staged)


def _sync_folder(folder: Path) -> None:
    """Make renames in a folder last through a power cut (where the system can)."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
