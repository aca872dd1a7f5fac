"""Numbers of a run, as JSON: what was planned, what became of it and why, and what it cost.

    run          name of the run directory
    sealed       false: read from plan, ledger and scores, and what was made is "undecided"
    made_since_seal  committed units that the index does not know: seal again to count them
    funnel       planned, made, scored {first part of the column names: units with a number}, and
                 kept + rejected + failed + pending + undecided = planned
    failed_in    stage -> failed units
    errors       scorer -> units that it could not score
    reasons      [{status, stage, reason, units}], most first; near-duplicates are counted together
    scores       column -> kept, rejected, undecided -> {n, p5, p25, p50, p75, p95}; hashes are left out
    yield        style, layout, recipe, expert -> name -> {planned, kept, rejected, failed, pending, undecided, yield};
                 yield = kept / (kept + rejected + failed), null while there is none of these
    experts      name of an expert in ``yield.expert`` -> verb and identity (all that determines its output)
    stages       stage -> {units, seconds, images_per_second, gpu_seconds}: time inside one worker, so replicas
                 multiply the rate. Experts' from the ledger; scorers' from timings.jsonl, of calls that were not killed
    cost         worker_seconds and gpu_seconds in all and per kept triplet; null where unknown
    shards       [{name, split, samples, bytes}] and splits: split -> {samples, shards, bytes}
    licences     licence -> {planned, kept}: units with an input image under it
    uncaptioned  {planned, kept}: units with an empty caption
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from curate.report.units import STATUSES, UNDECIDED, UnitTable, fold_reasons, read_units
from curate.report.yields import expert_yields, yields_by
from curate.store import RunStore

QUANTILES = (5, 25, 50, 75, 95)
MAX_REASONS = 100
"""Distinct reasons that are listed; messages that name a file or a number could be as many as there are units."""
NOT_STATED = "not stated"
REPORT = "report/index.html"
"""In a run directory: the page of `curate report`."""
TIMINGS = "timings.jsonl"
"""In a run directory: one line a call of the engine, with its start-up and work seconds and its stages."""


def collect(run: Path, units: UnitTable | None = None) -> dict[str, Any]:
    """Statistics of a run directory, sealed or not; ``units``, if they have been read already.

    Raises StoreError when it is no run directory, or a file is damaged.
    """
    units = units or read_units(run)
    stages = _stages(units.ledger, _gpus(RunStore.open(run, sweep=False).info))
    stages |= {name: row for name, row in _scoring(run).items() if name not in stages}
    by_expert, experts = expert_yields(units)
    funnel = _funnel(units)
    dataset = units.dataset or {}
    return {
        "run": run.resolve().name,
        "sealed": units.dataset is not None,
        "made_since_seal": units.made_since_seal if units.dataset is not None else 0,
        "funnel": funnel,
        "failed_in": _counts(units.frame.loc[units.frame["status"] == "failed", "stage"]),
        "errors": {name: n for name, n in units.errors.items() if n},
        "reasons": _reasons(units.frame),
        "scores": _scores(units),
        "yield": {name: yields_by(units.frame, name) for name in ("style", "layout", "recipe")} | {"expert": by_expert},
        "experts": experts,
        "stages": stages,
        "cost": _cost(stages, funnel["kept"]),
        "shards": [{key: shard[key] for key in ("name", "split", "samples", "bytes")}
                   for shard in dataset.get("shards", [])],
        "splits": dataset.get("splits", {}),
        "licences": _licences(units.frame),
        "uncaptioned": _uncaptioned(units.frame),
    }


def _funnel(units: UnitTable) -> dict[str, Any]:
    counts = units.frame["status"].value_counts()
    scored: dict[str, Any] = {}
    for column in units.scores:
        scorer = column.partition(".")[0]
        scored[scorer] = scored.get(scorer, False) | units.frame[column].notna()
    return {"planned": len(units.frame), "made": int(units.frame["made"].sum()),
            "scored": {scorer: int(mask.sum()) for scorer, mask in scored.items()},
            **{status: int(counts.get(status, 0)) for status in STATUSES}}


def _reasons(frame: pd.DataFrame) -> list[dict[str, Any]]:
    said = frame.loc[frame["status"].isin(["rejected", "failed", "pending"]), ["status", "stage", "reason"]].astype(str)
    said["reason"] = fold_reasons(said["reason"])
    counts = said.value_counts().rename("units").reset_index()
    counts = counts.sort_values(["units", "status", "stage", "reason"], ascending=[False, True, True, True])
    rare = counts.iloc[MAX_REASONS:].groupby(["status", "stage"], as_index=False)["units"].sum()
    listed = pd.concat([counts.iloc[:MAX_REASONS], rare.assign(reason="(other reasons)")])
    return [{"status": str(row.status), "stage": str(row.stage), "reason": str(row.reason), "units": int(row.units)}
            for row in listed[["status", "stage", "reason", "units"]].itertuples(index=False)]


def _scores(units: UnitTable) -> dict[str, dict[str, dict[str, float]]]:
    found: dict[str, dict[str, dict[str, float]]] = {}
    masks = {status: (units.frame["status"] == status).to_numpy() for status in ("kept", "rejected", UNDECIDED)}
    for column in units.scores:
        if not pd.api.types.is_float_dtype(units.frame[column].dtype):
            continue
        values = units.frame[column].to_numpy(dtype=np.float64, na_value=np.nan)
        finite = np.isfinite(values)
        found[column] = {status: _quantiles(values[mask & finite]) for status, mask in masks.items()
                         if (mask & finite).any()}
    return found


def _quantiles(values: np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, float]:
    numbers = np.percentile(values, QUANTILES)
    return {"n": len(values), **{f"p{q}": float(f"{x:.6g}") for q, x in zip(QUANTILES, numbers, strict=True)}}


def _stages(ledger: pd.DataFrame, gpus: Mapping[str, float]) -> dict[str, dict[str, float | None]]:
    """From the ledger's ``seconds``. Units of a block share one string, so few strings are parsed."""
    seconds: dict[str, float] = defaultdict(float)
    num_units: dict[str, int] = defaultdict(int)
    for text, n in ledger["seconds"].value_counts().items():
        for stage, share_s in json.loads(str(text)).items():
            seconds[stage] += share_s * n
            num_units[stage] += n
    return {stage: {"units": num_units[stage], "seconds": round(total_s, 3),
                    "images_per_second": round(num_units[stage] / total_s, 3) if total_s > 0 else None,
                    "gpu_seconds": round(total_s * gpus[stage], 3) if stage in gpus else None}
            for stage, total_s in sorted(seconds.items())}


def _scoring(run: Path) -> dict[str, dict[str, float | None]]:
    """Stages by the engine's own reports, all calls together."""
    path = run / TIMINGS
    totals: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        for stage, total in json.loads(line)["stages"].items():
            more = (total["images"], total["seconds"], total["gpu_s"])
            totals[stage] = [a + b for a, b in zip(totals[stage], more, strict=True)]
    return {stage: {"units": int(n), "seconds": round(s, 3), "images_per_second": round(n / s, 3) if s > 0 else None,
                    "gpu_seconds": round(gpu, 3) if gpu else None} for stage, (n, s, gpu) in totals.items()}


def _gpus(info: Mapping[str, Any]) -> dict[str, float]:
    """GPUs of one worker of each expert, from the config in run.json; empty when it is not there."""
    experts = (info.get("config") or {}).get("experts") or {}
    return {verb: float((expert.get("resources") or {}).get("gpus", 0.0)) for verb, expert in experts.items()}


def _cost(stages: Mapping[str, Mapping[str, float | None]], kept: int) -> dict[str, float | None]:
    """GPU-seconds are those of the stages whose workers are known; null when none is."""
    worker_s = sum(stage["seconds"] or 0.0 for stage in stages.values())
    gpu_s = [stage["gpu_seconds"] for stage in stages.values() if stage["gpu_seconds"] is not None]
    total_gpu_s = round(sum(gpu_s), 3) if gpu_s else None
    return {"worker_seconds": round(worker_s, 3), "gpu_seconds": total_gpu_s,
            "worker_seconds_per_kept": round(worker_s / kept, 3) if kept else None,
            "gpu_seconds_per_kept": round(total_gpu_s / kept, 3) if kept and total_gpu_s is not None else None}


def _licences(frame: pd.DataFrame) -> dict[str, dict[str, int]]:
    columns = [name for name in frame.columns if name.endswith("_licence")]
    kept = (frame["status"] == "kept").to_numpy()
    found: dict[str, dict[str, int]] = {}
    for licence in sorted({str(value) for name in columns for value in frame[name].unique()}):
        has = np.any([(frame[name] == licence).to_numpy() for name in columns], axis=0)
        found[licence or NOT_STATED] = {"planned": int(has.sum()), "kept": int((has & kept).sum())}
    return found


def _uncaptioned(frame: pd.DataFrame) -> dict[str, int]:
    empty = (frame["caption"].fillna("") == "").to_numpy(dtype=bool)
    kept = (frame["status"] == "kept").to_numpy(dtype=bool)
    return {"planned": int(empty.sum()), "kept": int((empty & kept).sum())}


def _counts(values: pd.Series[Any]) -> dict[str, int]:
    return {str(name): int(n) for name, n in values.value_counts().items() if n}
