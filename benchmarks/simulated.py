"""Stages that take the time of a GPU and nothing else, and plans of any size: what benchmarks/scale.py runs."""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
from PIL import Image

from curate.config import ResourcesConfig, StageConfig, StrictModel
from curate.interfaces import Expert, ExpertRequest
from curate.item_columns import ItemColumns
from curate.records import SourceItem
from curate.seeds import Digests
from curate.unit_columns import Labels, Part, UnitColumns

SIZE_PX = 64


class BlankSource(StrictModel):
    """One small image, whatever is asked for."""

    def read(self, locator: str) -> bytes:
        return blank()


class SleepExpert(StageConfig):
    """Sleeps as long as a batch would take on a GPU, and gives blank images."""

    resources: ResourcesConfig = ResourcesConfig()
    seconds_per_image: float

    def identity(self) -> dict[str, object]:
        return {"kind": "sleep"}

    def load(self, device: str) -> Expert:
        def make(requests: Sequence[ExpertRequest]) -> list[Image.Image]:
            time.sleep(self.seconds_per_image * len(requests))
            return [Image.new("RGB", (SIZE_PX, SIZE_PX)) for _ in requests]

        return make


@lru_cache(maxsize=1)
def blank() -> bytes:
    """A PNG."""
    out = io.BytesIO()
    Image.new("RGB", (SIZE_PX, SIZE_PX)).save(out, "PNG")
    return out.getvalue()


def source_item(source: str, i: int) -> SourceItem:
    """A distinct image with the words and paths that real ones have."""
    return SourceItem(source=source, locator=f"{source}/{i:08d}.png", uri=f"/data/{source}/{i:08d}.png",
                      sha256=hashlib.sha256(f"{source}{i}".encode()).hexdigest(), caption=f"a thing number {i}",
                      subject=f"{source} {i}", style=f"style {i % 50}", licence="CC-BY-4.0", attribution="someone")


def source_items(source: str, n: int) -> Iterator[SourceItem]:
    """As a scan of a folder yields them."""
    return (source_item(source, i) for i in range(n))


def sleeping_units(n: int) -> UnitColumns:
    """A plan whose inputs are all the blank image."""
    given = SourceItem(source="blank", locator="x", uri="x", sha256=hashlib.sha256(blank()).hexdigest())
    ids = np.frombuffer(b"".join(map(Digests("scale"), map(str, range(n)))), dtype=np.uint8).reshape(n, 16)
    items, nothing = ItemColumns.of([given]), np.zeros(n, dtype=np.int8)
    places = np.zeros(n, dtype=np.int32)
    target = Part("stylized", items, places)
    return UnitColumns(recipe="from_stylized", ids=ids, layouts=Labels(("preserved",), nothing),
                       sides=Labels(("train",), nothing), target=target, other=Part("subject", items, places),
                       style_of=target)
