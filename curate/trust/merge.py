"""curate merge: several runs or sealed folders into one dataset that ``curate verify`` finds sound."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from curate.dataset import SealedFolder
from curate.errors import ConfigError
from curate.run.command import say, summary
from curate.trust.combining import combine


def merge(paths: Sequence[Path], out: Path, *, skip_duplicates: bool) -> None:
    """Write the dataset and print its accounts."""
    sources = [SealedFolder(path) for path in paths]
    if out.resolve() in {source.folder.resolve() for source in sources}:
        raise ConfigError(f"--out {out} is one of the datasets to merge")
    say(summary(combine(sources, out, skip_duplicates=skip_duplicates)))
