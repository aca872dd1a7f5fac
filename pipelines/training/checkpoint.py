"""Checkpoints, whole or absent: written beside their place, flushed to disk, renamed.

`checkpoint.pt` is the newest and what a resume reads. Where more are kept, `checkpoint-000500.pt` is that of a step and
`checkpoint-best.pt` that of the best validation: further names of the same files (hard links, where the disk has them).
To go back to one, give it that name: `ln -f checkpoint-best.pt checkpoint.pt`. (`cp` would write into the file that
`checkpoint.pt` shares with the newest step's.) Checkpoints of later steps then stay until they are written again.
"""

import errno
import os
import re
import shutil
import struct
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, BinaryIO, Final

import torch

from curate.errors import StoreError
from curate.files import explaining_writes, unfinished
from pipelines.training.sharding import gathered
from pipelines.training.state import TrainState

SHOWN: Final = 120
"""Letters of torch's own words about a damaged file."""


def save_checkpoint(
    state: TrainState, path: Path, *, keep_last: int = 1, best: bool = False, write: bool = True
) -> None:
    """Replace the checkpoint at `path`; a crash leaves the former one. `keep_last` above 1 keeps those before it.

    Of several processes all call it, for weights may lie in pieces, and one has `write`. StoreError where it cannot be
    written; nothing is left of it then.
    """
    held: dict[str, Any] = gathered(state.state_dict())
    if not write:
        return
    temporary = unfinished(path)
    try:
        with explaining_writes(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                _write(held, file)
                file.flush()
                os.fsync(file.fileno())
            if keep_last > 1:
                _name_also(temporary, _of_step(path, state.step))
            if best:
                _name_also(temporary, path.with_stem(f"{path.stem}-best"))
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    if keep_last > 1:
        newest = _of_step(path, state.step)
        for old in [each for each in kept(path) if each.name <= newest.name][:-keep_last]:
            old.unlink()


def load_checkpoint(state: TrainState, path: Path) -> bool:
    """Bring `state` to what `path` holds. False where there is no such file: the training starts fresh. StoreError for
    a damaged one."""
    if not path.exists():
        return False
    state.load_state_dict(_read(path))
    return True


def step_of(path: Path) -> int:
    """The step of a checkpoint, whose tensors are not read; 0 where there is none. StoreError for a damaged one."""
    return int(_read(path, mmap=True)["step"]) if path.exists() else 0


def clear_unfinished(path: Path) -> None:
    """Remove what a killed process left of checkpoints that it was writing beside `path`."""
    for file in path.parent.glob(f".{path.stem}*.tmp"):
        file.unlink(missing_ok=True)


def _write(held: Mapping[str, Any], file: BinaryIO) -> None:
    try:
        torch.save(held, file)
    except RuntimeError as error:
        if "inline_container" not in str(error):
            raise
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error  # what torch's zip writer makes of it


def _read(path: Path, *, mmap: bool = False) -> dict[str, Any]:
    try:
        found: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
        int(found["step"])
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error}") from error
    except (EOFError, RuntimeError, UnpicklingError, ValueError, KeyError, TypeError, struct.error) as error:
        if "memory" in str(error):
            raise
        best = path.with_stem(f"{path.stem}-best")
        raise StoreError(f"{path}: damaged: {type(error).__name__}: {' '.join(str(error).split())[:SHOWN]}; go back to "
                         f"one that is whole (`ln -f {best.name} {path.name}`, if {best.name} is there), or remove it "
                         "to begin again") from error
    return found


def kept(path: Path) -> list[Path]:
    """Checkpoints of single steps beside `path`, oldest first."""
    pattern = re.compile(rf"{re.escape(path.stem)}-(\d+){re.escape(path.suffix)}")
    return sorted(file for file in path.parent.iterdir() if pattern.fullmatch(file.name))


def _of_step(path: Path, step: int) -> Path:
    return path.with_stem(f"{path.stem}-{step:09d}")


def _name_also(file: Path, name: Path) -> None:
    """A second name for a file, in one step."""
    temporary = unfinished(name)
    try:
        os.link(file, temporary)
    except OSError:  # a disk without hard links
        shutil.copyfile(file, temporary)
    temporary.replace(name)
