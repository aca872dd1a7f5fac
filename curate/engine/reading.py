"""``ReadInputs``: the given images of each unit, read from their sources and brought to the run's size."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from curate.engine.steps import Apply, live_units
from curate.errors import ImageError, UnitError
from curate.images import FitMode, decode, encode, fit
from curate.interfaces import Resources
from curate.records import Failure, SourceItem, Work


class Readable(Protocol):
    """Config of a source: reads its own locators in any process."""

    def read(self, locator: str) -> bytes: ...


@dataclass(frozen=True)
class ReadInputs:
    """Puts each input role of a unit into its images, as a PNG of ``size`` x ``size`` px.

    A unit whose input cannot be read, is no image, or has changed since the plan fails alone, at stage ``input``, with
    a reason that names the file (not its folder: that stays in the plan).
    """

    sources: Mapping[str, Readable]
    """By the names that the source items carry."""
    size: int
    fit: FitMode = "pad"
    name: str = "input"
    phase: Literal["makes"] = "makes"
    resources: Resources | None = None

    def open(self) -> Apply:
        """Nothing to load."""
        return self._read_block

    def _read_block(self, work: Work) -> Work:
        for unit in live_units(work):
            for role, item in unit.inputs.items():
                try:
                    work.images[unit.unit_id][role] = self._read(item)
                except UnitError as error:
                    work.failures[unit.unit_id] = Failure(self.name, f"{role}: {item.file_name}: {error}")
                    break
        return work

    def _read(self, item: SourceItem) -> bytes:
        data = self.sources[item.source].read(item.locator)
        if hashlib.sha256(data).hexdigest() != item.sha256:
            raise ImageError("has changed since the plan was made (its sha256 is another)")
        return encode(fit(decode(data), self.size, self.fit))
