"""The run directory: what is committed stays, what is not is not seen, and a repeated write is the same write."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from curate.errors import StoreError
from curate.interfaces import ROLES
from curate.records import Failure, Work
from curate.store import RunStore, make_block
from curate.store.standing import seen_by
from tests.runs import CSD, fill, make_units, make_work, png


def small(root: Path, n: int = 10, block_size: int = 4) -> RunStore:
    return RunStore.create(root, {"seed": 1}, make_units(n), block_size)


def test_plan_round_trips(tmp_path: Path) -> None:
    store = small(tmp_path)
    again = RunStore.open(tmp_path)
    assert again.units() == make_units(10)
    assert again.info == {"seed": 1}
    assert [len(b.units) for b in again.blocks()] == [4, 4, 2]
    assert [b.block_id for b in again.blocks()] == [b.block_id for b in store.blocks()]


def test_create_again_opens_same_plan_and_refuses_another(tmp_path: Path) -> None:
    small(tmp_path)
    before = (tmp_path / "plan.parquet").read_bytes()
    assert len(small(tmp_path).units()) == 10
    with pytest.raises(StoreError, match="another plan"):
        small(tmp_path, n=11)
    with pytest.raises(StoreError, match="another plan"):
        small(tmp_path, block_size=5)
    assert (tmp_path / "plan.parquet").read_bytes() == before


def test_crash_before_run_json_leaves_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curate.store.run_store.write_json", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        small(tmp_path)
    monkeypatch.undo()
    with pytest.raises(StoreError, match="not a run directory"):
        RunStore.open(tmp_path)
    assert len(small(tmp_path).units()) == 10


@pytest.mark.parametrize("bad", ["has.dot", "has/slash", ""])
def test_unit_ids_that_would_break_sample_keys_are_refused(tmp_path: Path, bad: str) -> None:
    units = make_units(2)
    with pytest.raises(StoreError, match="letters and digits"):
        RunStore.create(tmp_path, {}, [units[0], replace(units[1], unit_id=bad)], 2)
    with pytest.raises(StoreError, match="planned twice"):
        RunStore.create(tmp_path, {}, [units[0], replace(units[0], index=1)], 2)


def test_extended_plan_reuses_units_whatever_their_block_was(tmp_path: Path) -> None:
    store = small(tmp_path, n=10, block_size=4)
    old_plan = (tmp_path / "plan.parquet").read_bytes()
    for block in store.blocks():
        store.commit_candidates(make_work(block))
    assert store.extend_plan(make_units(12), 5, info={"seed": 2}) == 10
    assert (tmp_path / "plan.parquet").read_bytes() == old_plan
    again = RunStore.open(tmp_path)
    assert len(again.units()) == 12 and again.info == {"seed": 2}
    (pending,) = again.pending_blocks()
    assert [u.index for u in pending.units] == [10, 11]
    mixed = again.load_work(again.blocks()[0])  # its units lie in two segments of the former plan
    assert mixed.images == {u.unit_id: {r: png(u.unit_id, r) for r in ROLES} for u in again.blocks()[0].units}
    assert again.extend_plan(make_units(10), 4) == 10  # back to the first config: its plan file is found again
    assert len(list(tmp_path.glob("plan*.parquet"))) == 2
    assert RunStore.open(tmp_path).pending_blocks() == []


def test_plan_notices_moved_inputs(tmp_path: Path) -> None:
    store = small(tmp_path)
    assert store.holds(make_units(10), 4)
    assert not store.holds(make_units(10, folder="/elsewhere"), 4)


def test_candidates_round_trip_with_failures(tmp_path: Path) -> None:
    store = small(tmp_path)
    block = store.blocks()[0]
    lost = block.units[1].unit_id
    work = make_work(block, failed=[lost])
    store.commit_candidates(work, provenance={"stylize": "x"})
    again = RunStore.open(tmp_path)
    loaded = again.load_work(block)
    assert loaded.images == work.images
    assert loaded.failures == {lost: Failure("stylize", "model said no")}
    ledger = again.ledger()
    assert set(ledger.index) == {u.unit_id for u in block.units}
    assert ledger.loc[lost, "status"] == "failed" and ledger.loc[lost, "reason"] == "model said no"
    assert ledger.iloc[0]["seconds"] == '{"stylize": 0.5}' and ledger.iloc[0]["provenance"] == '{"stylize": "x"}'
    assert [b.index for b in again.pending_blocks()] == [1, 2]
    with pytest.raises(StoreError, match="not committed"):
        again.load_work(store.blocks()[1])


def test_repeated_commit_is_the_same_write(tmp_path: Path) -> None:
    store = small(tmp_path)
    block = store.blocks()[0]
    store.commit_candidates(make_work(block))
    tar = store.paths.candidate_tar(block.block_id)
    first, rows = tar.read_bytes(), store.paths.candidate_rows(block.block_id).read_bytes()
    os.utime(tar, (1, 1))
    store.commit_candidates(make_work(block))
    assert tar.read_bytes() == first and store.paths.candidate_rows(block.block_id).read_bytes() == rows
    assert len(store.ledger()) == 4
    folders = (store.paths.candidates, store.paths.ledger)
    assert [path.suffix for folder in folders for path in folder.iterdir()] == [".tar", ".parquet"]


def test_incomplete_work_and_foreign_block_ids_are_refused(tmp_path: Path) -> None:
    store = small(tmp_path)
    block = store.blocks()[0]
    work = make_work(block)
    del work.images[block.units[2].unit_id]["style"]
    with pytest.raises(StoreError, match="no style image"):
        store.commit_candidates(work)
    with pytest.raises(StoreError, match="make_block"):
        store.commit_candidates(Work(block=replace(block, units=block.units[:2]), images=make_work(block).images))
    assert store.ledger().empty


def test_killed_between_tar_and_rows_is_not_committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = small(tmp_path)
    block = store.blocks()[0]
    monkeypatch.setattr("curate.store.candidates.write_table", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        store.commit_candidates(make_work(block))
    monkeypatch.undo()
    assert store.paths.candidate_tar(block.block_id).exists()
    again = RunStore.open(tmp_path)
    assert again.committed() == set() and len(again.pending_blocks()) == 3
    again.commit_candidates(make_work(block))
    assert again.load_work(block).images == make_work(block).images


@pytest.mark.parametrize("call", ["os.fsync", "pathlib.Path.replace"])
def test_full_disk_is_a_store_error_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                           call: str) -> None:
    store = small(tmp_path)
    block = store.blocks()[0]

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(call, full)
    with pytest.raises(StoreError, match=r"seg-.*No space left.*free some space, then run the same command again"):
        store.commit_candidates(make_work(block))
    monkeypatch.undo()
    assert list(store.paths.candidates.iterdir()) == []
    store.commit_candidates(make_work(block))
    assert len(store.committed()) == 4


def test_open_sweeps_temporary_files_of_dead_processes_only(tmp_path: Path) -> None:
    small(tmp_path)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / "candidates").mkdir()
    theirs = tmp_path / "candidates" / f".seg-a.tar.{dead.pid}.tmp"
    mine = tmp_path / "candidates" / f".seg-b.tar.{os.getpid()}.tmp"
    for path in (theirs, mine):
        path.write_bytes(b"half")
    RunStore.open(tmp_path, sweep=False)
    assert theirs.exists()
    RunStore.open(tmp_path)
    assert not theirs.exists() and mine.exists()


def test_damaged_candidate_is_named(tmp_path: Path) -> None:
    store = fill(tmp_path, 4, failed=())
    (block,) = store.blocks()
    tar = store.paths.candidate_tar(block.block_id)
    raw = bytearray(tar.read_bytes())
    raw[600] ^= 1
    tar.write_bytes(raw)
    with pytest.raises(StoreError, match=r"content image of unit .* is damaged; delete"):
        store.load_work(block)
    tar.write_bytes(raw[:700])
    with pytest.raises(StoreError, match="cut off"):
        store.load_work(block)


def test_failed_unit_made_later_counts_as_made(tmp_path: Path) -> None:
    store = small(tmp_path)
    block = store.blocks()[0]
    lost = block.units[0]
    store.commit_candidates(make_work(block, failed=[lost.unit_id]))
    assert store.pending_blocks()[0].index == 1
    retry = store.pending_blocks(retry_failed=True)[0]
    assert retry.units == (lost,) and retry.block_id != block.block_id
    store.commit_candidates(make_work(retry))
    assert store.ledger().loc[lost.unit_id, "status"] == "made" and len(store.ledger()) == 4
    assert store.load_work(block).failures == {}


def test_segment_written_again_is_read_again(tmp_path: Path) -> None:
    store = small(tmp_path, n=2, block_size=1)
    block = store.blocks()[0]
    store.commit_candidates(make_work(block, failed=[block.units[0].unit_id]))
    assert store.committed(include_failed=False) == set()
    store.commit_candidates(make_work(block))  # the same unit ids, so the same file
    assert store.committed(include_failed=False) == {block.units[0].unit_id} and len(store.ledger()) == 1


def test_scores_of_a_block_may_come_in_parts(tmp_path: Path) -> None:
    store = fill(tmp_path, 4, failed=())
    (block,) = store.blocks()
    a, b, c, _ = (u.unit_id for u in block.units)
    store.commit_scores("vlm", "1", block, {a: {"vlm.style": 0.3, "vlm.bits": 2**62 + 1}})
    store.commit_scores("vlm", "1", block, {b: {"vlm.style": float("nan"), "vlm.bits": -5}},
                        {c: Failure("vlm", "no answer")})
    store.commit_scores("vlm", "1", block, {})
    frame = RunStore.open(tmp_path).scores("vlm", "1")
    assert set(frame.index) == {a, b, c} == set(store.scores("vlm", "1").index)
    assert seen_by(store.plan, store.score_segments("vlm", "1")).tolist() == [2, 2, 1, 0]
    assert frame["vlm.style"].dtype == np.float32 and np.isnan(frame.loc[b, "vlm.style"])
    assert frame["vlm.bits"].dtype == pd.Int64Dtype() and frame.loc[a, "vlm.bits"] == 2**62 + 1
    assert pd.isna(frame.loc[c, "vlm.bits"])
    assert frame["error"].to_dict() == {a: "", b: "", c: "no answer"}
    assert store.scores("vlm", "2").empty and set(store.scores(*CSD).index) == {u.unit_id for u in block.units}
    store.commit_scores("vlm", "1", block, {c: {"vlm.style": 1.0, "vlm.bits": 7}})
    assert store.scores("vlm", "1").loc[c, "error"] == "" and len(store.scores("vlm", "1")) == 3
    with pytest.raises(StoreError, match="not in block"):
        store.commit_scores("vlm", "1", make_block(0, block.units[:1]), {c: {"vlm.style": 1.0}})


def test_attempts_outlive_the_process_and_end_with_the_commit(tmp_path: Path) -> None:
    store = small(tmp_path)
    block = store.blocks()[0]
    assert store.attempts(block.block_id) == 0
    assert store.begin_attempt(block.block_id) == 1
    again = RunStore.open(tmp_path)
    assert again.begin_attempt(block.block_id) == 2 and store.attempts(block.block_id) == 2
    again.begin_attempt(block.units[0].unit_id)
    again.begin_attempt(block.block_id, stage="csd")
    again.commit_candidates(make_work(block))
    assert again.attempts(block.block_id) == 0 and again.attempts(block.units[0].unit_id) == 0
    assert again.attempts(block.block_id, stage="csd") == 1
    again.commit_scores("csd", "f", block, {block.units[0].unit_id: {"csd.x": 1.0}})
    assert again.attempts(block.block_id, stage="csd") == 0


def test_ledger_sees_segments_of_other_processes(tmp_path: Path) -> None:
    ours = small(tmp_path)
    theirs = RunStore.open(tmp_path)
    for i, block in enumerate(theirs.blocks()):
        theirs.commit_candidates(make_work(block))
        assert len(ours.ledger()) == sum(len(b.units) for b in theirs.blocks()[:i + 1])
