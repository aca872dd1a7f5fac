"""``curate.open(run)`` in a notebook: triplets as PIL images, scores as a pandas frame, a look at some of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from curate.dataset.sealed import SealedFolder
from curate.dataset.showing import draw_cards
from curate.errors import StoreError
from curate.images import decode, encode
from curate.interfaces import ROLES
from curate.store import RunStore


@dataclass(frozen=True)
class Triplet:
    """One triplet. ``stylized`` shows the subject of ``content`` in the style of ``style``."""

    unit_id: str
    content: Image.Image = field(repr=False)
    style: Image.Image = field(repr=False)
    stylized: Image.Image = field(repr=False)
    caption: str
    style_caption: str
    subject: str
    style_name: str
    layout: str
    split: str
    status: str
    reason: str
    scores: dict[str, float] = field(repr=False)

    def _repr_png_(self) -> bytes:
        """What a notebook shows."""
        return encode(draw_cards([self], columns=1))


class Dataset:
    """A sealed run, or a sealed folder alone. Length, iteration and numbers are over the kept triplets."""

    def __init__(self, path: Path) -> None:
        self._sealed = SealedFolder(path)
        self._store = RunStore.open(path, sweep=False) if (path / "run.json").exists() else None
        self.path = path

    @cached_property
    def frame(self) -> pd.DataFrame:
        """A row a planned unit, indexed by unit_id: status, reason, labels, captions and scores."""
        table: pd.DataFrame = self._sealed.index().to_pandas()
        return table.set_index("unit_id")

    @cached_property
    def scores(self) -> pd.DataFrame:
        """The score columns of ``frame``, with status, split and style."""
        return self.frame[["status", "split", "style", *self._sealed.dataset["columns"]]]

    @cached_property
    def ids(self) -> list[str]:
        """Of the kept triplets, in plan order."""
        return list(self._sealed.shard_of)

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Triplet]:
        return (self[unit_id] for unit_id in self.ids)

    def __getitem__(self, which: int | str) -> Triplet:
        """By number among the kept, or by id: of a run, rejected units too, as long as they have images.

        Kept ones come as training sees them, out of the shards. KeyError for an unknown id, StoreError without images.
        """
        unit_id = self.ids[which] if isinstance(which, int) else which
        row = self.frame.loc[unit_id]
        scores = {name: float(row[name]) for name in self._sealed.dataset["columns"]}
        images = self._images(unit_id)
        return Triplet(
            unit_id=unit_id, content=images["content"], style=images["style"], stylized=images["stylized"],
            caption=str(row["caption"]), style_caption=str(row["style_caption"]), subject=str(row["subject"]),
            style_name=str(row["style"]), layout=str(row["layout"]), split=str(row["split"]),
            status=str(row["status"]), reason=str(row["reason"]), scores=scores)

    def _images(self, unit_id: str) -> dict[str, Image.Image]:
        if unit_id in self._sealed.shard_of:
            members = self._sealed.members(unit_id)
            return {role: decode(data) for role in ROLES for suffix, data in members.items()
                    if suffix.partition(".")[0] == role}
        images = self._store.load_images([unit_id]) if self._store else {}
        if unit_id not in images:
            what = "has no images" if self._store else "is not kept, and only the run has the images of others"
            raise StoreError(f"{self.path}: unit {unit_id} {what}")
        return {role: decode(images[unit_id][role]) for role in ROLES}

    def show(self, n: int = 12, *, status: str = "kept", columns: int = 3) -> Image.Image:
        """A picture of ``n`` triplets with their scores, spread over the run: a notebook shows it."""
        of_status = self.frame.index[self.frame["status"] == status]
        step = max(1, len(of_status) // max(1, n))
        shown = []
        for unit_id in of_status[::step][:n]:
            try:
                shown.append(self[str(unit_id)])
            except StoreError:
                if status in ("kept", "rejected"):
                    raise
        return draw_cards(shown, columns=columns, first=[rule["column"] for rule in self._sealed.dataset["rules"]])

    @property
    def dataset(self) -> dict[str, Any]:
        """The content of dataset.json: shards, rules, totals."""
        copied: dict[str, Any] = json.loads(json.dumps(self._sealed.dataset))
        return copied

    def __repr__(self) -> str:
        counts = self.frame["status"].value_counts()
        said = ", ".join(f"{n} {status}" for status, n in counts.items())
        return f"<curate.Dataset {self.path}: {said}>"
