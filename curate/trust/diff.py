"""curate diff: what is different between two runs or sealed folders: config, models, units, verdicts, scores, bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from curate.dataset import SealedFolder
from curate.report.page.differences import LEFT_OUT, config_differences
from curate.store import RunStore

IDENTITIES = {"experts": "model of", "scorers": "scorer", "versions": "version of"}
"""Parts of run.json beside the config, and what their keys are called here."""


def diff(a: Path, b: Path) -> int:
    """Print the differences; 1 if there are any, as diff does."""
    lines = list(differences(a, b))
    for line in lines:
        print(line)
    if not lines:
        print("no differences")
    return 1 if lines else 0


def differences(a: Path, b: Path) -> Iterator[str]:
    """One a line. What only a run directory has (config, versions, candidates) is compared where both are one."""
    sealed = SealedFolder(a), SealedFolder(b)
    stores = [RunStore.open(path, sweep=False) for path in (a, b) if (path / "run.json").exists()]
    settings = [_of_run(store) for store in stores] if len(stores) == 2 else [_of_folder(one) for one in sealed]
    for key, left, right in config_differences(*settings):
        yield f"config: {key}: {left or '(none)'} -> {right or '(none)'}"
    frames = tuple(one.index().to_pandas().set_index("unit_id") for one in sealed)
    yield from _units(*frames)
    both = frames[0].index.intersection(frames[1].index)
    left, right = frames[0].loc[both], frames[1].loc[both]
    yield from _verdicts(left, right)
    yield from _scores(left, right, [set(one.dataset["columns"]) for one in sealed])
    if len(stores) == 2:
        yield from _images(*(store.ledger().reindex(both) for store in stores))
    else:
        yield from _members(*sealed)


def _of_run(store: RunStore) -> dict[str, Any]:
    config = {key: value for key, value in store.info.get("config", {}).items() if key not in LEFT_OUT}
    return {**config, **{name: store.info.get(part, {}) for part, name in IDENTITIES.items()}}


def _of_folder(sealed: SealedFolder) -> dict[str, Any]:
    parts = {part: sealed.dataset[part] for part in ("rules", "near_duplicates", "settings")}
    return {**parts, "scorers": {one["name"]: one["fingerprint"] for one in sealed.dataset["scorers"]}}


def _units(a: pd.DataFrame, b: pd.DataFrame) -> Iterator[str]:
    for name, only in (("first", a.index.difference(b.index)), ("second", b.index.difference(a.index))):
        if len(only):
            yield f"units: {len(only)} only in the {name}, as {only[0]}"


def _verdicts(a: pd.DataFrame, b: pd.DataFrame) -> Iterator[str]:
    moved = a["status"] != b["status"]
    counts = Counter(zip(a["status"][moved].tolist(), b["status"][moved].tolist(), strict=True))
    for (before, after), n in counts.most_common():
        of = moved & (a["status"] == before) & (b["status"] == after)
        why = b["reason"][of].where(b["reason"][of] != "", a["reason"][of]).value_counts()
        yield f"verdicts: {n} {before} -> {after}, mostly: {why.index[0]}"
    reasons = int(((a["reason"] != b["reason"]) & ~moved).sum())
    if reasons:
        yield f"verdicts: {reasons} of the same status for another reason"


def _scores(a: pd.DataFrame, b: pd.DataFrame, columns: list[set[str]]) -> Iterator[str]:
    for name in sorted(columns[0] ^ columns[1]):
        yield f"scores: {name} only in the {'first' if name in columns[0] else 'second'}"
    for name in sorted(columns[0] & columns[1]):
        left, right = (frame[name].to_numpy(dtype=np.float64, na_value=np.nan) for frame in (a, b))
        known = ~np.isnan(left) & ~np.isnan(right)
        apart = (right - left)[known]
        lost, gained = int((np.isnan(right) & ~np.isnan(left)).sum()), int((np.isnan(left) & ~np.isnan(right)).sum())
        if np.any(apart != 0) or lost or gained:
            moved = (f"{int((apart != 0).sum())} of {known.sum()} differ, by {apart.mean():+.4g} on average, "
                     f"{np.abs(apart).max():.4g} at most") if np.any(apart != 0) else "the same"
            rest = [f"{n} only in the {which}" for n, which in ((lost, "first"), (gained, "second")) if n]
            yield "; ".join([f"scores: {name}: {moved}", *rest])


def _images(a: pd.DataFrame, b: pd.DataFrame) -> Iterator[str]:
    """By the sha256 of the candidates, so that nothing is read."""
    made = (a["status"] == "made") & (b["status"] == "made")
    for role in ("content", "style", "stylized"):
        other = made & (a[f"{role}_sha256"] != b[f"{role}_sha256"])
        if other.any():
            yield f"images: {int(other.sum())} {role} images differ, as of unit {other.index[other][0]}"


def _members(a: SealedFolder, b: SealedFolder) -> Iterator[str]:
    shared = [unit_id for unit_id in a.shard_of if unit_id in b.shard_of]
    other = [unit_id for unit_id in shared if a.members(unit_id) != b.members(unit_id)]
    if other:
        yield f"samples: {len(other)} of {len(shared)} that both keep differ, as {other[0]}"
