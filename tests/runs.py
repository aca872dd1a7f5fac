"""Small run directories for tests: real units, real PNG images, real scores, no models."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from curate.interfaces import ROLES
from curate.records import Failure, SourceItem, Unit, Work
from curate.seal import RuleConfig, SealConfig, SealReport, seal
from curate.seeds import digest, seed
from curate.store import RunStore

CSD = ("csd", "f00d")
PHASH = ("phash", "beef")
RULES = (RuleConfig(column="csd.style_stylized", min=0.5), RuleConfig(column="csd.content_stylized", max=0.4))


def png(*name: str | int, px: int = 16) -> bytes:
    """A random image that depends on ``name`` only."""
    pixels = np.random.default_rng(seed(*name)).integers(0, 256, (px, px, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def item(name: str, *, folder: str = "/data", **words: str) -> SourceItem:
    """A source image called ``name``."""
    sha256 = hashlib.sha256(name.encode()).hexdigest()
    return SourceItem(source="input", locator=name, uri=f"{folder}/{name}", sha256=sha256, licence="MIT",
                      attribution="someone", **words)


def make_units(n: int, *, folder: str = "/data", run: str = "run") -> list[Unit]:
    """Units of distinct subjects, every fifth on the val side, layouts taking turns."""
    return [Unit(unit_id=digest(run, i), index=i, recipe="from_stylized", layout=("preserved", "shifted")[i % 2],
                 caption=f"a thing {i}", style_caption=f"another {i}", subject=f"thing {i}", style_subject=f"other {i}",
                 style=f"style {i % 3}", side="val" if i % 5 == 4 else "train",
                 inputs={"stylized": item(f"target {i}", folder=folder), "subject": item(f"plain {i}", folder=folder)})
            for i in range(n)]


def make_work(block: Any, *, failed: Sequence[str] = ()) -> Work:
    """A block's work as the stages would leave it."""
    images = {u.unit_id: {role: png(u.unit_id, role) for role in ROLES} for u in block.units if u.unit_id not in failed}
    return Work(block=block, images=images, failures={u: Failure("stylize", "model said no") for u in failed},
                seconds={"stylize": 2.0})


def score(unit: Unit) -> dict[str, float | int]:
    """CSD numbers by index: unit 3 breaks the first rule, unit 6 the second."""
    low, high = unit.index == 3, unit.index == 6
    return {"csd.style_stylized": 0.25 if low else 0.75, "csd.content_stylized": 0.5 if high else 0.125}


def hash_of(unit: Unit) -> int:
    """A 64-bit hash far from that of any other unit."""
    return seed("hash", unit.unit_id) - 2**62


def fill(root: Path, n: int = 20, *, failed: Sequence[int] = (1,), folder: str = "/data", block_size: int = 4,
         ) -> RunStore:
    """A run directory with all candidates and scores committed."""
    units = make_units(n, folder=folder)
    store = RunStore.create(root, {"config": {"seed": 1}}, units, block_size)
    for block in store.blocks():
        lost = [u.unit_id for u in block.units if u.index in failed]
        store.commit_candidates(make_work(block, failed=lost), provenance={"stylize": {"kind": "blend"}})
        made = [u for u in block.units if u.unit_id not in lost]
        store.commit_scores(*CSD, block, {u.unit_id: score(u) for u in made})
        store.commit_scores(*PHASH, block, {u.unit_id: {"phash.bits": hash_of(u)} for u in made})
    return store


def seal_small(store: RunStore, rules: Sequence[RuleConfig] = RULES, **kwargs: Any) -> SealReport:
    """Seal with both scorers and several shards."""
    kwargs.setdefault("config", SealConfig(shard_samples=6))
    kwargs.setdefault("scorers", (CSD, PHASH))
    return seal(store, rules=rules, **kwargs)
