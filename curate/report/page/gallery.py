"""Which triplets the report shows, and their pictures, small enough to be inside the page.

A third each of the kept, of the rejected and of those nearest to a threshold, spread over reasons and styles; then
near-duplicates beside the unit that each resembles. The same run gives the same choice.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from curate.images import decode, encode
from curate.interfaces import ROLES
from curate.report.card import fit
from curate.report.contact_sheet import spread
from curate.report.units import UNDECIDED, UnitTable, fold_reasons
from curate.store import RunStore

MAX_TRIPLETS = 300
MAX_TWINS = 8
MAX_PICTURE_BYTES = 3_000_000
CRISP_PX = 96
"""Pictures up to this size are kept pixel by pixel; larger ones become ``PICTURE_PX``."""
PICTURE_PX = 192
TWIN = "near duplicate of "


def choose(units: UnitTable, rules: Sequence[dict[str, Any]], limit: int = MAX_TRIPLETS) -> list[int]:
    """Positions of units with images, best choice first: groups take turns."""
    frame = units.frame[units.frame["made"]]
    position = pd.Series(np.flatnonzero(units.frame["made"]), index=frame["unit_id"])
    frame = frame.assign(verdict=fold_reasons(frame["reason"]))
    if len(frame) <= limit:
        return [int(at) for at in position]
    rejected = frame[frame["status"] == "rejected"]
    groups = [spread(frame[frame["status"].isin(["kept", UNDECIDED])], limit, ["style"]),
              spread(rejected, limit, ["verdict", "style"]), _nearest(frame, rules, limit)]
    turns = zip_longest(_twins(rejected, position), *(list(group["unit_id"]) for group in groups))
    ids = dict.fromkeys(unit_id for turn in turns for unit_id in turn if unit_id is not None)
    return [int(position[unit_id]) for unit_id in list(ids)[:limit]]


def _twins(rejected: pd.DataFrame, position: pd.Series[Any]) -> list[str]:
    twins = rejected[rejected["verdict"] == TWIN.removesuffix(" of ")].iloc[:MAX_TWINS]
    pairs = zip(twins["unit_id"], twins["reason"].str.removeprefix(TWIN), strict=True)
    return [unit_id for pair in pairs for unit_id in pair if unit_id in position.index]


def _nearest(frame: pd.DataFrame, rules: Sequence[dict[str, Any]], limit: int) -> pd.DataFrame:
    """Units whose number lies nearest to a bound, by the spread (p5 to p95) of its column."""
    distance = np.full(len(frame), np.inf)
    for rule in rules:
        values = frame[rule["column"]].to_numpy(dtype=np.float64, na_value=np.nan)
        if rule["layout"]:
            values = np.where(frame["layout"] == rule["layout"], values, np.nan)
        if not np.isfinite(values).any():
            continue
        low, high = np.nanpercentile(values, (5, 95))
        for bound in (rule["min"], rule["max"]):
            if bound is not None:
                distance = np.fmin(distance, np.abs(values - bound) / max(high - low, 1e-9))
    order = np.argsort(distance, kind="stable")
    return frame.iloc[order[:min(limit, int(np.isfinite(distance).sum()))]]


def pictures(store: RunStore, units: UnitTable, chosen: Sequence[int]) -> list[dict[str, Any]]:
    """The chosen units as the page shows them, as many as fit into ``MAX_PICTURE_BYTES``. StoreError when damaged."""
    if not _has_candidates(store.paths.candidates):
        return []
    rows = units.frame.iloc[list(chosen)]
    images = store.load_images([str(unit_id) for unit_id in rows["unit_id"]])
    found: list[dict[str, Any]] = []
    room = MAX_PICTURE_BYTES
    for at, (position, row) in enumerate(zip(chosen, _records(rows), strict=True)):
        own = images.get(row["unit_id"])
        if own is None:
            continue
        small = {role: _small(own[role]) for role in ROLES}
        room -= sum(len(data) for data in small.values())
        if room < 0 and at:
            break
        texts = {key: str(row[key]) for key in ("style", "layout", "split", "caption", "style_caption", "reason")}
        found.append({"id": row["unit_id"], "position": position, **texts, "errors": str(row["errors"]),
                      "twin": str(row["reason"]).removeprefix(TWIN) if str(row["reason"]).startswith(TWIN) else "",
                      "pictures": {role: "data:image/webp;base64," + base64.b64encode(data).decode()
                                   for role, data in small.items()}})
    return found


def _has_candidates(folder: Path) -> bool:
    return next(folder.glob("seg-*.tar"), None) is not None


def _records(frame: pd.DataFrame) -> Iterator[dict[str, Any]]:
    return ({str(key): value for key, value in row.items()} for row in frame.to_dict("records"))


def _small(data: bytes) -> bytes:
    image = decode(data)
    if max(image.size) <= CRISP_PX:
        return encode(image, "webp-lossless")
    return encode(fit(image, PICTURE_PX) if max(image.size) > PICTURE_PX else image, "webp", quality=80)
