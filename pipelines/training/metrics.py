"""Metrics as JSON lines, one object a line, appended and flushed: readable while the training runs."""

import json
from collections.abc import Iterator
from pathlib import Path

from curate.files import explaining_writes, write_atomic


class MetricsLog:
    """`write(step=1, loss=0.5)` appends `{"step": 1, "loss": 0.5}`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with explaining_writes(path):
            path.parent.mkdir(parents=True, exist_ok=True)

    def write(self, **values: float | int | str) -> None:
        """Append one line; floats are rounded to six significant digits."""
        line = {key: float(f"{value:.6g}") if isinstance(value, float) else value for key, value in values.items()}
        with explaining_writes(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def read(self) -> list[dict[str, float | int | str]]:
        """All whole lines; one that a crash or a full disk cut off is left out."""
        return list(self._lines()) if self.path.exists() else []

    def _lines(self) -> Iterator[dict[str, float | int | str]]:
        for line in self.path.read_text(encoding="utf-8").splitlines(keepends=True):
            if line.endswith("}\n"):
                try:
                    yield json.loads(line)
                except ValueError:
                    continue

    def rewind(self, step: int) -> None:
        """Drop what was logged after a step: a resumed training says it again."""
        lines = self.read()
        kept = [line for line in lines if int(line["step"]) <= step]
        if len(kept) < len(lines) or not self._whole():
            write_atomic(self.path, "".join(json.dumps(line) + "\n" for line in kept).encode())

    def _whole(self) -> bool:
        return not self.path.exists() or self.path.read_bytes()[-1:] in (b"", b"\n")
