"""One checkpoint file, whole or absent: written beside its place, flushed to disk, renamed."""

import os
from pathlib import Path

import torch

from pipelines.training.state import TrainState


def save_checkpoint(state: TrainState, path: Path) -> None:
    """Replace the checkpoint at `path`; a crash leaves the former one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        torch.save(state.state_dict(), file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def load_checkpoint(state: TrainState, path: Path) -> bool:
    """Bring `state` to what `path` holds. False where there is no such file: the training starts fresh."""
    if not path.exists():
        return False
    state.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return True
