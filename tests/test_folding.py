"""The ledger folded into larger files: the same rows for every reader, whatever dies on the way."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from curate.engine import EngineConfig, execute
from curate.engine.jobs import Jobs
from curate.files import as_path, list_files
from curate.keys import id_bytes
from curate.records import Failure
from curate.seal import verify
from curate.store import RunStore
from curate.store.folding import FAN, fold
from curate.store.parts import Parts, located
from curate.store.standing import FAILED, MADE, NOTHING
from curate.unit_columns import batches
from tests.engine_parts import image_hashes, make_steps, make_store
from tests.runs import CSD, PHASH, fill, make_units, make_work, seal_small
from tests.s3_server import s3_server

TABLES = (CSD, PHASH)


def rows_of(store: RunStore) -> list[pd.DataFrame]:
    """All that is committed."""
    return [store.ledger().sort_index(), *(store.scores(*one).sort_index() for one in TABLES)]


def names(store: RunStore) -> list[str]:
    return sorted(list_files(store.paths.ledger))


def same(left: list[pd.DataFrame], right: list[pd.DataFrame]) -> bool:
    for one, other in zip(left, right, strict=True):
        pd.testing.assert_frame_equal(one, other)
    return True


def fold_each(store: RunStore, n: int) -> None:
    """A fold after every block of a run of ``n`` units."""
    for block in store.blocks():
        lost = [u.unit_id for u in block.units if u.index == 1]
        store.commit_candidates(make_work(block, failed=lost), provenance={"stylize": {"kind": "blend"}})
        made = [u for u in block.units if u.unit_id not in lost]
        store.commit_scores(*CSD, block, {u.unit_id: {"csd.style_stylized": u.index / n} for u in made})
        store.fold([CSD], least=1)


@pytest.fixture(params=["disk", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    if request.param == "disk":
        yield tmp_path
    else:
        with s3_server() as url:
            yield as_path(f"{url}/folding")


def test_a_folded_run_is_read_and_sealed_like_any_other(place: Path, tmp_path: Path) -> None:
    plain, folded = fill(tmp_path / "plain"), fill(place / "folded")
    folded.fold(TABLES, least=6)
    assert len(names(folded)) == 5, "too few to fold"
    looked_before = rows_of(folded)
    folded.fold(TABLES, least=1)
    assert names(folded) == ["rows-000001-000001.parquet"]
    for store in (folded, RunStore.open(folded.root)):
        assert same(rows_of(plain), rows_of(store)) and same(looked_before, rows_of(store))
        assert store.load_images([u.unit_id for u in store.units()]) == plain.load_images(
            [u.unit_id for u in plain.units()])
        assert store.score_columns(*PHASH) == {"phash.bits"}
    seal_small(plain)
    seal_small(folded)
    sealed = [{name: (run.root / "shards" / name).read_bytes() for name in list_files(run.root / "shards")}
              for run in (plain, folded)]
    assert sealed[0] == sealed[1] and len(sealed[0]) > 4
    assert verify(folded.root, deep=True) == []


def test_many_folds_leave_few_files(tmp_path: Path) -> None:
    n = 2 * FAN + 3
    store = RunStore.create(tmp_path, {}, make_units(n), 1)
    fold_each(store, n)
    assert names(store) == ["rows-000001-000016.parquet", "rows-000017-000032.parquet",
                            *(f"rows-{i:06d}-{i:06d}.parquet" for i in (33, 34, 35))]
    ledger = store.ledger()
    assert len(ledger) == n and (ledger["status"] == "failed").sum() == 1
    assert store.scores(*CSD)["csd.style_stylized"].count() == n - 1
    assert store.standing().status.tolist() == [FAILED if i == 1 else MADE for i in range(n)]
    assert [dict(store.standing().row(u.index, u.unit_id))["block_id"] for u in store.units()] == [
        block.block_id for block in store.blocks()]


@pytest.mark.parametrize("died", ["curate.store.folding.remove_files", "curate.store.folding.write_table",
                                  "curate.files.os.fsync"])
def test_a_fold_that_dies_loses_nothing_and_counts_nothing_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                                 died: str) -> None:
    store = fill(tmp_path)
    before = rows_of(store)
    for _ in range(3):  # dies again and again
        with monkeypatch.context() as broken:
            broken.setattr(died, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                store.fold(TABLES, least=1)
        store = RunStore.open(tmp_path)
        assert same(before, rows_of(store)) and store.standing().num_done == 20 and verify(tmp_path)[1:] == []
    store.fold(TABLES, least=1)
    assert same(before, rows_of(store)) and not [name for name in names(store) if name.startswith("seg-")]


def test_a_merge_that_dies_is_finished_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    n = FAN - 1
    store = RunStore.create(tmp_path, {}, make_units(n + 2), 1)
    for block in store.blocks()[:n]:
        store.commit_candidates(make_work(block))
        store.fold([], least=1)
    removed = iter([True, False])  # the small segments are, the merged files are not

    def dies(folder: Path, names: list[str]) -> None:
        if not next(removed):
            raise KeyboardInterrupt
        for name in names:
            (folder / name).unlink()

    store.commit_candidates(make_work(store.blocks()[n]))
    with monkeypatch.context() as broken:
        broken.setattr("curate.store.folding.remove_files", lambda folder, names: names and dies(folder, names))
        with pytest.raises(KeyboardInterrupt):
            store.fold([], least=1)
    assert len(names(store)) == FAN + 1, "the old files and the new one"
    again = RunStore.open(tmp_path)
    assert len(again.ledger()) == n + 1 and again.standing().num_done == n + 1
    again.commit_candidates(make_work(again.blocks()[n + 1]))
    again.fold([], least=1)
    assert names(again) == ["rows-000001-000016.parquet", "rows-000017-000017.parquet"]
    assert len(RunStore.open(tmp_path).ledger()) == n + 2


def test_what_is_committed_again_replaces_its_folded_rows(tmp_path: Path) -> None:
    store = RunStore.create(tmp_path, {}, make_units(2), 1)
    block, other = store.blocks()
    unit_id = block.units[0].unit_id
    store.commit_candidates(make_work(block, failed=[unit_id]))
    store.commit_scores(*CSD, other, {}, {other.units[0].unit_id: Failure("csd", "no answer")})
    store.fold([CSD], least=1)
    assert store.standing().status.tolist() == [FAILED, NOTHING] and store.committed(include_failed=False) == set()
    store.commit_candidates(make_work(block))
    store.commit_scores(*CSD, other, {other.units[0].unit_id: {"csd.style_stylized": 0.5}})
    for _ in range(2):  # beside the folded rows, and folded after them
        again = RunStore.open(tmp_path)
        for one in (store, again):
            assert one.standing().status.tolist() == [MADE, NOTHING] and list(one.ledger()["status"]) == ["made"]
            assert one.standing().row(0, unit_id)["status"] == "made"
            assert one.scores(*CSD)["error"].tolist() == [""]
        store.fold([CSD], least=1)
    # and the other way round: the newest word counts, not the better one
    store.commit_candidates(make_work(block, failed=[unit_id]))
    assert list(store.ledger()["status"]) == ["failed"] and store.standing().status.tolist() == [FAILED, NOTHING]


def test_a_segment_that_changes_while_it_is_folded_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = RunStore.create(tmp_path, {}, make_units(1), 1)
    (block,) = store.blocks()
    store.commit_candidates(make_work(block, failed=[block.units[0].unit_id]))
    join = type(store._candidates.segments).join

    def joined(self: Any, names: list[str]) -> Any:
        table = join(self, names)
        store.commit_candidates(make_work(block))
        return table

    with monkeypatch.context() as busy:
        busy.setattr(type(store._candidates.segments), "join", joined)
        fold(store._candidates.segments, least=1)
    assert len(names(store)) == 2 and list(RunStore.open(tmp_path).ledger()["status"]) == ["made"]


def test_deleting_a_tar_is_enough_to_have_it_made_again(tmp_path: Path) -> None:
    store, steps = make_store(tmp_path), make_steps()
    execute(store, steps, EngineConfig())
    tables = [(step.name, step.fingerprint) for step in steps if hasattr(step, "fingerprint")]
    store.fold(tables, least=1)
    before, block = image_hashes(store), store.blocks()[1]
    tar = store.paths.candidate_tar(block.block_id)
    data = tar.read_bytes()
    tar.unlink()
    assert [job.block.index for job in Jobs(RunStore.open(tmp_path), steps)] == [1]
    report = execute(RunStore.open(tmp_path), steps, EngineConfig())
    assert (report.blocks, report.made) == (1, 4) and tar.read_bytes() == data and image_hashes(store) == before


def test_jobs_find_their_rows_again_after_a_fold(tmp_path: Path) -> None:
    store, steps = make_store(tmp_path), make_steps()
    execute(store, steps[:3], EngineConfig())  # no scores
    jobs = Jobs(store, steps)
    walk = iter(jobs)
    first = next(walk)
    store.fold([], least=1)
    every = [first, *walk]
    assert [len(job.rows) for job in every] == [4, 4, 4] and not jobs.makes and jobs.scores == {"tone"}
    found = {unit_id: row["block_id"] for job in every for unit_id, row in job.rows.items()}
    assert found == {u.unit_id: block.block_id for block in store.blocks() for u in block.units}


@pytest.mark.parametrize("block_size", [1, 3, 4, 50])
def test_a_plan_of_many_row_groups_is_read_in_any_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                        block_size: int) -> None:
    monkeypatch.setattr("curate.unit_columns.CHUNK", 8)
    units = make_units(50)
    store = RunStore.create(tmp_path, {}, units, block_size)
    plan = store.plan
    step = max(1, 8 // block_size) * block_size
    assert len(list(plan.tables())) == len(list(batches(units, block_size))) == -(-50 // step)
    assert store.units() == units and len(plan) == 50
    assert [plan.units(i, i + 7) for i in range(50)] == [units[i:i + 7] for i in range(50)]
    blocks = [plan.block(i) for i in range(plan.num_blocks)]
    assert blocks == store.blocks() and list(chain(*(block.units for block in blocks))) == units
    rows = Parts(np.int64)
    rows.add(id_bytes(pa.array([unit.unit_id for unit in units[::-1]])), np.arange(49, -1, -1))
    rows.add(id_bytes(pa.array(["nobody's"])), np.array([50]))
    found = [pair for part in located(plan.parts, rows) for pair in zip(*part, strict=True)]
    assert len(found) == 50 and all(place == number for place, number in found)
    assert store.holds(units, block_size) and not store.holds(units[:49], block_size)
