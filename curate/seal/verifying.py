"""``verify``: prove what ``seal`` promises, or say in plain sentences what is wrong and where."""

from __future__ import annotations

from pathlib import Path

from curate.errors import CurateError
from curate.seal.fault import Fault
from curate.seal.publish import DATASET_JSON, retired_folder
from curate.seal.verify_run import verify_segments, verify_statuses
from curate.seal.verify_shards import verify_folder
from curate.store import RunPaths, RunStore

__all__ = ["Fault", "verify"]


def verify(run: Path, *, deep: bool = False) -> list[Fault]:
    """All faults of a run directory, or of a sealed folder that was copied alone; an empty list means sound.

    Checked of a sealed folder: files, sizes, sha256; every kept unit once over all tars, its members whole and
    decodable; index, totals and shards agree. Of a run directory also: the index against the plan and the ledger, and
    every segment of candidates and scores. ``deep`` hashes all candidate images too and holds their
    sizes against the run's. Changes nothing.
    """
    paths = RunPaths(run)
    if not paths.run_json.exists():
        if (run / DATASET_JSON).exists():
            return verify_folder(run)
        return [Fault(str(run), f"is neither a run directory (no run.json) nor a sealed folder (no {DATASET_JSON})")]
    try:
        store = RunStore.open(run, sweep=False)
        store.plan.check()
    except CurateError as error:
        return [Fault("run", str(error))]
    faults = verify_segments(paths, deep=deep, size_px=store.info.get("config", {}).get("size"))
    if paths.shards.exists():
        faults += verify_folder(paths.shards)
        if not faults:  # with damaged segments or shards a comparison would only repeat the damage
            faults += verify_statuses(store)
    elif retired_folder(paths.shards).exists():
        faults.append(Fault("shards", "a seal was interrupted while it swapped the folders; seal again"))
    else:
        faults.append(Fault("shards", "nothing is sealed yet; run `curate seal`"))
    return faults
