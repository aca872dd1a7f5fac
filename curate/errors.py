"""The project's errors. The class says what happens next.

CurateError
 ├── ConfigError     stop before work starts: the user mends the file (names file, dotted key, line)
 ├── SourceError     stop before work starts: a source as a whole cannot be read
 ├── ModelError      stop: a model cannot be loaded, or its file is not what the config says
 ├── StoreError      stop: the run directory cannot be written, or holds what it should not
 ├── NumericsError   stop: a training's loss or gradient is not finite; its last checkpoint is whole
 ├── EngineError     stop: the engine cannot run here (too few CPUs, no Ray, cluster gone)
 ├── UnitError       record this unit as failed(stage, reason) and go on
 │    └── ImageError   an image that cannot be decoded or is refused, or that a model drew of what is no number
 └── BudgetError     stop at the end with exit code 1: more failures than the config allows
"""

from __future__ import annotations

from pathlib import Path


class CurateError(Exception):
    """Base of all errors that the command line prints without a traceback."""


class ConfigError(CurateError):
    """A config value is wrong. Shown as ``file:line: key: message``."""

    def __init__(self, message: str, *, file: Path | str | None = None, key: str = "", line: int | None = None) -> None:
        self.message, self.file, self.key, self.line = message, file, key, line
        place = "" if file is None else f"{file}:{line}: " if line else f"{file}: "
        super().__init__(f"{place}{key + ': ' if key else ''}{message}")


class SourceError(CurateError):
    """A source (folder, parquet, tars, package) cannot be read at all."""


class ModelError(CurateError):
    """A model is missing, partial or of another kind than the config says."""


class StoreError(CurateError):
    """The run directory cannot be used: full disk, foreign files, another config."""


class NumericsError(CurateError, FloatingPointError):
    """A loss or gradient is not finite. The message says where the batch lies that gave it."""


class EngineError(CurateError):
    """The engine cannot start or has lost its workers."""


class UnitError(CurateError):
    """One unit cannot be finished; ``reason`` becomes its row in the ledger."""


class ImageError(UnitError):
    """An input image cannot be decoded, or is refused (too large, empty, not an image)."""


class BudgetError(CurateError):
    """The run ended with more failed units than ``failures.max_fraction`` allows."""
