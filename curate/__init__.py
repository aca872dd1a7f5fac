"""The spine of triplet-curate: everything that is not a model (plan, store, engine, seal, report, CLI).

``curate.open("runs/quickstart")`` gives a sealed run as PIL triplets and a frame of scores; importing ``curate`` loads
nothing for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from curate.dataset.opened import Dataset

__version__ = "0.1.0"


def open(run: str | Path) -> Dataset:
    """A sealed run, or a sealed folder, by its path or URL, to look at. StoreError when there is none."""
    from curate.dataset.opened import Dataset
    from curate.files import as_path

    return Dataset(as_path(run))
