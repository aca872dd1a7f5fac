"""Small real experts, scorers and a plan for the engine tests, and a program that runs them in a process of its own.

The experts do what makes real models awkward: their pixels depend on the batch size and on the place in the batch.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from curate.config import ResourcesConfig, StageConfig, StrictModel
from curate.engine import EngineConfig, ExpertStep, ReadInputs, ScoreStep, Step, execute
from curate.errors import ImageError, ModelError
from curate.interfaces import ERROR, ROLES, Expert, ExpertRequest, Score, ScoreColumns, TripletImages
from curate.records import ExpertCall, SourceItem, Unit
from curate.seeds import digest
from curate.store import RunStore
from tests.runs import png

PX = 16
UNREADABLE = "unreadable"


class DrawnSource(StrictModel):
    """Images that are drawn from their locator."""

    def read(self, locator: str) -> bytes:
        if locator == UNREADABLE:
            raise ImageError("cannot be read: no such file")
        return png(locator, px=PX)


ONE = ResourcesConfig(cpus=1, replicas=1)


class BlendExpert(StageConfig):
    """Mixes its images with noise of its seed; prompts in the lists make trouble."""

    resources: ResourcesConfig = ONE
    kind: Literal["blend"] = "blend"
    raises: tuple[str, ...] = ()
    dies: tuple[str, ...] = ()
    sleep_s: float = 0.0
    broken: bool = False
    log: str = ""
    """A file that gets a line a call."""

    def identity(self) -> dict[str, object]:
        return {"kind": self.kind}

    def load(self, device: str) -> Expert:
        if self.broken:
            raise ModelError("blend: no such model")
        note(self.log, "load")
        return self._make

    def _make(self, requests: Sequence[ExpertRequest]) -> list[Image.Image]:
        note(self.log, "call")
        time.sleep(self.sleep_s)
        for request in requests:
            if request.prompt in self.dies:
                os._exit(17)
            if request.prompt in self.raises:
                raise RuntimeError(f"cannot draw {request.prompt}")
        return [self._blend(request, place, len(requests)) for place, request in enumerate(requests)]

    @staticmethod
    def _blend(request: ExpertRequest, place: int, size: int) -> Image.Image:
        noise = np.random.default_rng(request.seed).integers(0, 64, (PX, PX, 3))
        given = [np.asarray(image, dtype=np.int64) for image in (request.content, request.style) if image is not None]
        return Image.fromarray(((sum(given) // len(given) + noise + 3 * place + 5 * size) % 256).astype(np.uint8))


class ConvExpert(StageConfig):
    """Two seeded convolutions in torch, with as many threads as the stage has CPUs."""

    resources: ResourcesConfig = ONE
    kind: Literal["conv"] = "conv"

    def identity(self) -> dict[str, object]:
        return {"kind": self.kind}

    def load(self, device: str) -> Expert:
        import torch

        generator = torch.Generator().manual_seed(7)
        first = torch.randn(32, 3, 5, 5, generator=generator).to(device) / 9
        last = torch.randn(3, 32, 5, 5, generator=generator).to(device) / 28

        def make(requests: Sequence[ExpertRequest]) -> list[Image.Image]:
            images = np.stack([np.asarray(r.content, dtype=np.float32) / 255 for r in requests if r.content])
            with torch.inference_mode():
                x = torch.from_numpy(images).permute(0, 3, 1, 2).to(device)
                y = torch.conv2d(torch.tanh(torch.conv2d(x, first, padding=2)), last, padding=2)
                # 40,000 levels on 256 values: a difference in the last bits of y is seen
                pixels = ((y * 40_000).round().to(torch.int64) % 256).permute(0, 2, 3, 1).cpu().numpy()
            return [Image.fromarray(p.astype(np.uint8)) for p in pixels]

        return make


class ToneScorer(StageConfig):
    """Mean difference of content and stylized, plus an integer; captions in the list make trouble."""

    resources: ResourcesConfig = ONE
    kind: Literal["tone"] = "tone"
    prefix: str = "tone"
    promises: tuple[str, ...] = ("difference", "hash")
    raises: tuple[str, ...] = ()
    mute: tuple[str, ...] = ()
    dies: tuple[str, ...] = ()
    log: str = ""

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(f"{self.prefix}.{name}" for name in self.promises)

    def identity(self) -> dict[str, object]:
        return {"kind": self.kind}

    def load(self, device: str) -> Score:
        return self._score

    def _score(self, triplets: Sequence[TripletImages]) -> ScoreColumns:
        note(self.log, "call")
        for triplet in triplets:
            if triplet.caption in self.dies:
                os._exit(18)
            if triplet.caption in self.raises:
                raise ValueError("no opinion")
        difference = [abs(np.asarray(t.content, dtype=np.float32) - np.asarray(t.stylized, dtype=np.float32)).mean()
                      + 0.001 * place + 0.01 * len(triplets) for place, t in enumerate(triplets)]
        hashes = [int(hashlib.sha256(t.style.tobytes()).hexdigest()[:15], 16) for t in triplets]
        columns = {f"{self.prefix}.difference": np.asarray(difference, dtype=np.float32),
                   f"{self.prefix}.hash": np.asarray(hashes, dtype=np.int64)}
        if self.mute:
            columns[ERROR] = np.array(["silent\nit said: hm" if t.caption in self.mute else "" for t in triplets])
        return columns


@dataclass(frozen=True)
class SkipBelow:
    """A rule for the cascade."""

    column: str
    limit: float

    def __call__(self, scores: pd.DataFrame) -> npt.NDArray[np.bool_]:
        assert set(scores["layout"]) <= {"preserved", "shifted"}
        return (scores[self.column] < self.limit).to_numpy(dtype=bool)


def note(log: str, what: str) -> None:
    """Count something across processes."""
    if log:
        with open(log, "a") as f:
            f.write(what + "\n")


def count(log: Path, what: str) -> int:
    """How often it was noted."""
    return log.read_text().split().count(what) if log.exists() else 0


def make_units(n: int, *, unreadable: Sequence[int] = ()) -> list[Unit]:
    """A from_stylized plan; the caption names the unit."""
    targets = [item(UNREADABLE if i in unreadable else f"target {i}") for i in range(n)]
    return [Unit(unit_id=digest("engine", i), index=i, recipe="from_stylized", layout="preserved", caption=f"unit {i}",
                 style_caption=f"other {i}", subject="", style_subject="", style="", side="train",
                 inputs={"stylized": target, "subject": item(f"plain {i}")})
            for i, target in enumerate(targets)]


def item(locator: str) -> SourceItem:
    """An image of the source ``drawn``."""
    sha256 = "" if locator == UNREADABLE else hashlib.sha256(png(locator, px=PX)).hexdigest()
    return SourceItem(source="drawn", locator=locator, uri=locator, sha256=sha256)


def make_store(root: Path, n: int = 12, *, block: int = 4, unreadable: Sequence[int] = ()) -> RunStore:
    """An empty run of n units, or the one that is there."""
    return RunStore.create(root, {}, make_units(n, unreadable=unreadable), block)


def make_steps(expert: BlendExpert | ConvExpert | None = None, *scorers: ScoreStep) -> list[Step]:
    """Read, destylize to the content, stylize to the style, score."""
    expert = expert or BlendExpert()
    return [ReadInputs({"drawn": DrawnSource()}, size=PX),
            ExpertStep(ExpertCall("content", "destylize", "stylized", None, "caption"), expert, run_seed=5),
            ExpertStep(ExpertCall("style", "stylize", "subject", "stylized", "style_caption"), expert, run_seed=5),
            *(scorers or [ScoreStep("tone", ToneScorer(), "f1")])]


def on_cpus(cpus: int) -> ResourcesConfig:
    return ResourcesConfig(cpus=cpus, replicas=1)


def image_hashes(store: RunStore) -> dict[int, dict[str, str]]:
    """Unit index -> role -> sha256 of the committed PNG."""
    indices = {unit.unit_id: unit.index for unit in store.units()}
    ledger = store.ledger()
    return {indices[str(u)]: {role: str(row[f"{role}_sha256"]) for role in ROLES}
            for u, row in ledger[ledger["status"] == "made"].iterrows()}


def failures(store: RunStore) -> dict[int, tuple[str, str]]:
    """Unit index -> stage and reason."""
    indices = {unit.unit_id: unit.index for unit in store.units()}
    failed = store.ledger().query("status == 'failed'")
    return {indices[str(u)]: (row["stage"], row["reason"]) for u, row in failed.iterrows()}


def scores(store: RunStore, scorer: str = "tone", fingerprint: str = "f1") -> dict[int, dict[str, object]]:
    """Unit index -> the scorer's row."""
    indices = {unit.unit_id: unit.index for unit in store.units()}
    rows = store.scores(scorer, fingerprint).to_dict("index")
    return {indices[str(u)]: {str(c): None if v is pd.NA else v for c, v in row.items()} for u, row in rows.items()}


def whole(root: Path) -> dict[str, object]:
    """All that a run directory holds, but for measured seconds."""
    store = RunStore.open(root)
    files = {str(f.relative_to(root)): f.read_bytes() for folder in ("candidates", "scores")
             for f in (root / folder).rglob("*") if f.suffix == ".tar" or (folder == "scores" and f.is_file())}
    ledger = store.ledger().drop(columns="seconds").sort_index()
    return {**files, "ledger": ledger.to_csv(), "attempts": sorted(p.name for p in (root / "attempts").glob("*"))}


def main() -> None:
    """``python -m tests.engine_parts ROOT KIND N SLEEP_S DIES_ON [SCORER_DIES_ON]``: one call of execute."""
    root, kind, n, sleep_s, dies, scorer_dies = (*sys.argv[1:], "")[:6]
    expert = BlendExpert(sleep_s=float(sleep_s), dies=(dies,) if dies else ())
    scorer = ToneScorer(dies=(scorer_dies,) if scorer_dies else ())
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    config = EngineConfig(kind="ray" if kind == "ray" else "local", cpus=2, block_attempts=1, unit_attempts=2)
    execute(make_store(Path(root), int(n)), make_steps(expert, ScoreStep("tone", scorer, "f1")), config)


if __name__ == "__main__":
    main()
