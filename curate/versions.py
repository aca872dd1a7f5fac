"""Versions of what reaches the numbers: written into run.json and bench.json."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Final

PACKAGES: Final = ("triplet-curate", "torch", "diffusers", "transformers", "open-clip-torch", "pillow", "numpy", "ray")


def versions_in_use() -> dict[str, str]:
    """Python's, and those of ``PACKAGES`` that are installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
