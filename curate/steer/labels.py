"""Labels beside a run: which triplets a person calls good or bad, and why. labels.parquet, written at every label.

A row a label in the order of giving; of a unit with several the last counts, so undo is dropping the last row.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import pyarrow as pa

from curate.errors import ConfigError, StoreError
from curate.store.tables import read_table, write_table

FAULTS: Final = {
    "subject": "content and target show different subjects",
    "style": "style reference and target differ in style",
    "residue": "the content still carries the style",
    "leak": "the style reference shows the target's subject",
    "artefact": "a picture is broken, blurred or empty",
}
"""What can be wrong with a bad triplet; the worst of several is the label."""
FILE = "labels.parquet"
SCHEMA = pa.schema([("unit_id", pa.string()), ("good", pa.bool_()), ("fault", pa.string()), ("at", pa.string())])


class Label(NamedTuple):
    """What a person said of a unit."""

    unit_id: str
    good: bool
    fault: str = ""
    """One of ``FAULTS`` for a bad one, empty for a good one."""
    at: str = ""
    """When, in ISO 8601, UTC."""


class LabelFile:
    """The labels of a run. Each call reads and writes the whole file (10,000 labels: about 10 ms), so nothing is lost
    when the process dies, and a second labeller's labels are not written over."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def all(self) -> list[Label]:
        """In the order of giving. ConfigError for a file that holds no labels."""
        return read_labels(self.path) if self.path.exists() else []

    def add(self, label: Label) -> None:
        """Save one more; ConfigError for a fault that there is not, or a bad one without."""
        if label.fault not in FAULTS and not (label.good and not label.fault):
            raise ConfigError(f"a label is good, or bad with one of {', '.join(FAULTS)}; not {label.fault!r}")
        now = datetime.now(UTC).isoformat(timespec="seconds")
        write_labels(self.path, [*self.all(), label._replace(at=label.at or now)])

    def undo(self) -> Label | None:
        """Take the last label back; what it was, None if there is none."""
        labels = self.all()
        if labels:
            write_labels(self.path, labels[:-1])
        return labels[-1] if labels else None


def read_labels(path: Path) -> list[Label]:
    """Rows of a label file. ConfigError when it is none."""
    try:
        table = read_table(path, SCHEMA.names)
    except StoreError as error:
        raise ConfigError(f"no label file: {error}", file=path) from error
    if table.schema.names != SCHEMA.names or table.schema.field("good").type != pa.bool_():
        raise ConfigError(f"no label file: it needs the columns {', '.join(SCHEMA.names)} (good: bool)", file=path)
    return [Label(**row) for row in table.to_pylist()]


def write_labels(path: Path, labels: Sequence[Label]) -> None:
    """The file, whole or as it was."""
    write_table(path, pa.Table.from_pylist([label._asdict() for label in labels], schema=SCHEMA))


def last_labels(labels: Sequence[Label]) -> dict[str, Label]:
    """Unit -> the label that counts."""
    return {label.unit_id: label for label in labels}
