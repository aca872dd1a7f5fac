"""TensorBoard event files of a training, beside the JSON lines that are its record."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image

from curate.files import explaining_writes


class TensorBoard:
    """Scalars and pictures by step. `step` is where the training goes on: what an earlier sitting wrote after it is
    hidden. To be closed. StoreError where it cannot write; closing raises nothing, for it often follows an error."""

    def __init__(self, folder: Path, *, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._folder = folder
        with explaining_writes(folder):
            self._writer = SummaryWriter(str(folder), purge_step=step + 1 if step else None)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """One point of each curve."""
        with explaining_writes(self._folder):
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)

    def picture(self, step: int, name: str, picture: Image.Image) -> None:
        """An RGB picture."""
        with explaining_writes(self._folder):
            self._writer.add_image(name, np.asarray(picture), step, dataformats="HWC")

    def close(self) -> None:
        """Write what is still in memory."""
        with suppress(OSError):
            self._writer.close()
