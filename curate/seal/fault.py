"""What ``verify`` finds."""

from __future__ import annotations

from typing import NamedTuple


class Fault(NamedTuple):
    """One thing that is not as it must be."""

    place: str
    """File or unit."""
    says: str
    """A sentence without the place."""

    def __str__(self) -> str:
        return f"{self.place}: {self.says}"
