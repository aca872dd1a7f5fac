"""What a user sees of a training: a progress bar (or plain lines), sample grids, TensorBoard files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Self

from PIL import Image

from curate.files import write_atomic
from curate.images import encode
from curate.progress import Progress
from pipelines.training import Watch
from pipelines.training.tensorboard import TensorBoard


class Onlooker(Watch):
    """Context manager around a training of `total` steps that writes to `out`."""

    def __init__(self, out: Path, total: int) -> None:
        self.out, self.total = out, total
        self._progress: Progress | None = None
        self._board: TensorBoard | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._progress is not None:
            self._progress.__exit__(None, None, None)
        if self._board is not None:
            self._board.close()

    def begun(self, step: int) -> None:
        """Nothing is shown of a training that has ended already."""
        if step < self.total:
            self._progress = Progress(self.total, done=step, noun="steps").__enter__()
            self._board = TensorBoard(self.out / "tensorboard", step=step)

    def stepped(self, step: int, losses: Mapping[str, float]) -> None:
        if self._progress is not None:
            self._progress.update(step, stage="  ".join(f"{name} {value:.4f}" for name, value in losses.items()))

    def logged(self, step: int, values: Mapping[str, float]) -> None:
        if self._board is not None:
            self._board.scalars(step, values)

    def picture(self, step: int, picture: Image.Image) -> None:
        """A sample grid, also as `samples/step-NNNNNN.png`."""
        write_atomic(self.out / "samples" / f"step-{step:06d}.png", encode(picture))
        if self._board is not None:
            self._board.picture(step, "samples", picture)

    def warn(self, text: str) -> None:
        """A line that stays on the screen."""
        if self._progress is not None:
            self._progress.note(f"warning: {text}")
