"""Vectors of the targets of a run, by the networks that scored it: what is drawn (CLIP) and how (CSD's style head).

Kept in ``embeddings/`` of the run by the scorers' fingerprints, so a second selection needs no network. The shape of a
batch and the place in it reach the last bits of a float, and those decide between near-ties; so all batches have one
shape, each unit has the place that its id gives it, and its vector is the same whatever was embedded before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image as PilImage
from PIL.Image import Image

from curate.config import parse
from curate.engine.steps import device_of, resources_of
from curate.errors import ConfigError
from curate.images import decode
from curate.run.config import RunConfig
from curate.run.planning import fingerprint
from curate.seeds import seed
from curate.store import RunStore
from curate.store.tables import read_table, write_table
from filters.clip import ClipScorer
from filters.csd import CsdScorer

Floats = npt.NDArray[np.float32]
Embed = Callable[[Sequence[Image]], Floats]
BATCH = 8
EMPTY = PilImage.new("RGB", (64, 64))


def embeddings(store: RunStore, unit_ids: Sequence[str]) -> Floats:
    """(N, D) unit vectors of the targets, the networks' vectors side by side and equally heavy.

    ConfigError when the run has neither a csd nor a clip scorer.
    """
    config = parse(RunConfig, store.info["config"], file=store.paths.run_json)
    used = {name: scorer for name, scorer in config.scorers.items() if isinstance(scorer, ClipScorer | CsdScorer)}
    if not used:
        raise ConfigError("nothing here knows when two pictures are alike: select needs a csd or clip scorer",
                          file=store.paths.run_json, key="scorers")
    parts = [_of(store, f"{name}@{fingerprint(scorer.identity())}", scorer, unit_ids) for name, scorer in used.items()]
    joined: Floats = np.concatenate(parts, axis=1) / np.float32(np.sqrt(len(parts)))
    return joined


def _of(store: RunStore, name: str, scorer: ClipScorer | CsdScorer, unit_ids: Sequence[str]) -> Floats:
    path = store.paths.embeddings / f"{name}.{BATCH}.parquet"
    known = _read(path) if path.exists() else {}
    missing = [unit_id for unit_id in unit_ids if unit_id not in known]
    if missing:
        embed = _load(scorer)
        for part in batches(missing):
            images = store.load_images([unit_id for unit_id in part if unit_id])
            vectors = embed([decode(images[unit_id]["stylized"]) if unit_id else EMPTY for unit_id in part])
            known |= {unit_id: vector for unit_id, vector in zip(part, vectors, strict=True) if unit_id}
        _write(path, known)
    return np.stack([known[unit_id] for unit_id in unit_ids]).astype(np.float32)


def batches(unit_ids: Sequence[str]) -> Iterator[list[str | None]]:
    """Lists of ``BATCH`` places, each unit at its own; None = nobody's."""
    waiting: list[list[str]] = [[] for _ in range(BATCH)]
    for unit_id in unit_ids:
        waiting[seed("place", unit_id) % BATCH].append(unit_id)
    yield from map(list, zip_longest(*waiting))


def _load(scorer: ClipScorer | CsdScorer) -> Embed:
    call: Any = scorer.load(device_of(resources_of(scorer)))
    embed: Embed = call.image_vectors if isinstance(scorer, ClipScorer) else call.style_vectors
    return embed


def _read(path: Path) -> dict[str, Floats]:
    table = read_table(path)
    vectors = np.stack(table.column("vector").to_numpy()) if table.num_rows else np.zeros((0, 1), dtype=np.float32)
    return dict(zip(table.column("unit_id").to_pylist(), vectors, strict=True))


def _write(path: Path, known: dict[str, Floats]) -> None:
    vectors = pa.array([vector.tolist() for vector in known.values()], pa.list_(pa.float32()))
    write_table(path, pa.table({"unit_id": pa.array(list(known), pa.string()), "vector": vectors}))
