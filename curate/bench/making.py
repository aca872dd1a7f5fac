"""Making the images of a system, or finding that they are made: ``out/<system>/<task>/<id>.png`` and ``<id>.json``.

The JSON is written last and carries the fingerprint of all that the image depends on, so an image without it, or with
another one, is made again, and no other is. What failed is tried again by the next run.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from curate.bench.items import BenchItem, Picture
from curate.bench.systems import AnySystem, Failure, Make
from curate.files import write_atomic, write_json
from curate.images import encode

Status = Literal["made", "failed", "skipped"]


class ShowProgress(Protocol):
    """Gets totals so far, as ``curate.progress.Progress.update`` does."""

    def __call__(self, done: int, /, *, failed: int | None) -> None: ...


@dataclass(frozen=True)
class Outcome:
    """What became of one item at one system. ``seconds`` is the wall time of its batch over the batch's size."""

    item: BenchItem
    status: Status
    picture: Picture | None = None
    reason: str = ""
    seconds: float | None = None


def make_images(system: AnySystem, items: Sequence[BenchItem], out: Path, *, device: str,
                on_progress: ShowProgress | None = None) -> list[Outcome]:
    """An outcome for every item, in order. The system is loaded only where something is missing.

    Errors of loading are raised; errors of an item are its outcome.
    """
    found = {item: _find(system, item, out) for item in items}
    missing = [item for item, outcome in found.items() if outcome is None]
    made = _make_missing(system, missing, out, system.load(device)) if missing else iter(())
    failed = 0
    for done, outcome in enumerate(made, start=len(items) - len(missing) + 1):
        found[outcome.item] = outcome
        failed += outcome.status == "failed"
        if on_progress is not None:
            on_progress(done, failed=failed)
    return [outcome for outcome in found.values() if outcome is not None]


def count_missing(system: AnySystem, items: Sequence[BenchItem], out: Path) -> int:
    """How many images are still to be made."""
    return sum(_find(system, item, out) is None for item in items)


def _find(system: AnySystem, item: BenchItem, out: Path) -> Outcome | None:
    """The finished outcome of an item: refused, or made with this fingerprint; None = to be made."""
    refusal = system.refusal(item)
    if refusal:
        return Outcome(item, "skipped", reason=refusal)
    image, note = _paths(system, item, out)
    if not image.is_file() or not note.is_file():
        return None
    try:
        known: dict[str, Any] = json.loads(note.read_text(encoding="utf-8"))
        fingerprint, seconds = known["fingerprint"], float(known["seconds"])
    except (ValueError, KeyError, TypeError):  # a damaged note: its image is made again
        return None
    if fingerprint != system.fingerprint(item):
        return None
    return Outcome(item, "made", Picture(item.item_id, image), seconds=seconds)


def _make_missing(system: AnySystem, items: Sequence[BenchItem], out: Path, make: Make) -> Iterator[Outcome]:
    for at in range(0, len(items), system.batch):
        batch = items[at : at + system.batch]
        started = time.monotonic()
        results = make(batch)
        seconds = (time.monotonic() - started) / len(batch)
        for item, result in zip(batch, results, strict=True):
            image, note = _paths(system, item, out)
            note.unlink(missing_ok=True)
            if isinstance(result, Failure):
                image.unlink(missing_ok=True)
                yield Outcome(item, "failed", reason=result.reason)
            else:
                write_atomic(image, encode(result))
                write_json(note, {"fingerprint": system.fingerprint(item), "seconds": round(seconds, 4)})
                yield Outcome(item, "made", Picture(item.item_id, image), seconds=seconds)


def _paths(system: AnySystem, item: BenchItem, out: Path) -> tuple[Path, Path]:
    folder = out / system.name / item.task
    return folder / f"{item.item_id}.png", folder / f"{item.item_id}.json"
