"""Sealing: every planned unit gets one status, equal inputs give equal bytes, and a former set is replaced whole."""

from __future__ import annotations

import errno
import hashlib
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from curate.errors import ConfigError, StoreError
from curate.records import Failure
from curate.seal import NearDuplicateConfig, RuleConfig, SealConfig, seal, sealing, verify
from curate.store import RunStore
from tests.runs import CSD, PHASH, RULES, fill, hash_of, make_units, make_work, score, seal_small


def bytes_of(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


def index_of(store: RunStore) -> pd.DataFrame:
    return pd.read_parquet(store.paths.shards / "index.parquet").set_index("index")


def test_every_unit_has_one_status_and_a_reason(tmp_path: Path) -> None:
    store = fill(tmp_path)
    report = seal_small(store)
    assert (report.planned, report.kept, report.pending) == (20, 17, 0)
    assert report.rejected == {"csd.style_stylized too low": 1, "csd.content_stylized too high": 1}
    assert report.failed == {"stylize: model said no": 1}
    assert report.samples == {"train": 13, "val": 4}
    index = index_of(store)
    assert list(index["unit_id"]) == [u.unit_id for u in store.units()]
    assert Counter(index["status"]) == {"kept": 17, "rejected": 2, "failed": 1}
    assert tuple(index.loc[3, ["status", "stage", "reason"]]) == ("rejected", "rules", "csd.style_stylized too low")
    assert tuple(index.loc[1, ["status", "stage", "reason"]]) == ("failed", "stylize", "model said no")
    assert index.loc[3, "shard"] == "" and index.loc[3, "csd.style_stylized"] == 0.25
    assert index.loc[0, "phash.bits"] == hash_of(store.units()[0])
    assert index.loc[0, "stylized_licence"] == "MIT" and index.loc[0, "subject_attribution"] == "someone"
    assert not any("/data" in str(v) for v in index.to_numpy().ravel())
    assert verify(tmp_path, deep=True) == []


def test_same_inputs_same_bytes_in_any_folder_and_order(tmp_path: Path) -> None:
    first = fill(tmp_path / "a")
    seal_small(first)
    before = bytes_of(first.paths.shards)
    seal_small(first)
    assert bytes_of(first.paths.shards) == before
    units = make_units(20, folder="/elsewhere")
    second = RunStore.create(tmp_path / "b", {}, units, 4)
    for block in reversed(second.blocks()):  # another order, other timings, one scorer after the other
        lost = [u.unit_id for u in block.units if u.index == 1]
        work = make_work(block, failed=lost)
        work.seconds = {"stylize": 77.0}
        second.commit_candidates(work, provenance={"stylize": {"kind": "blend"}})
    for block in second.blocks():
        for unit in block.units:
            if unit.index != 1:
                second.commit_scores(*PHASH, block, {unit.unit_id: {"phash.bits": hash_of(unit)}})
                second.commit_scores(*CSD, block, {unit.unit_id: score(unit)})
    seal_small(second)
    assert bytes_of(second.paths.shards) == before


def test_new_rules_reseal_without_touching_candidates(tmp_path: Path) -> None:
    store = fill(tmp_path)
    seal_small(store)
    candidates, shards = bytes_of(store.paths.candidates), bytes_of(store.paths.shards)
    report = seal_small(store, rules=RULES[1:])
    assert report.kept == 18 and bytes_of(store.paths.candidates) == candidates
    assert bytes_of(store.paths.shards) != shards
    assert verify(tmp_path) == []
    strict = seal_small(store, rules=(RuleConfig(column="csd.style_stylized", min=2.0),))
    assert strict.kept == 0 and strict.shards == ()
    assert sorted(bytes_of(store.paths.shards)) == ["README.md", "dataset.json", "index.parquet"]  # no orphans
    assert verify(tmp_path) == []
    seal_small(store)
    assert bytes_of(store.paths.shards) == shards


def test_unfinished_run_seals_with_pending_units(tmp_path: Path) -> None:
    store = RunStore.create(tmp_path, {}, make_units(8), 4)
    block = store.blocks()[0]
    store.commit_candidates(make_work(block))
    a, b, c, d = block.units
    store.commit_scores("csd", "1", block, {u.unit_id: {"csd.x": v} for u, v in ((a, 0.9), (b, 0.1), (c, 0.9))})
    store.commit_scores("vlm", "1", block, {a.unit_id: {"vlm.x": 4.0}})
    rules = (RuleConfig(column="vlm.x", min=3.0), RuleConfig(column="csd.x", min=0.5))
    report = seal(store, rules=rules, scorers=(("csd", "1"), ("vlm", "1")))
    # b was spared the vlm by the cascade: rejected, not pending; c and d wait for scores, block 2 for images
    assert (report.kept, report.rejected, report.pending) == (1, {"csd.x too low": 1}, 6)
    index = index_of(store).set_index("unit_id")
    assert index.loc[c.unit_id, "reason"] == "not scored by vlm"
    assert index.loc[d.unit_id, "reason"] == "not scored by csd"
    assert index.iloc[7]["reason"] == "not made yet"
    assert verify(tmp_path) == []
    loose = seal(store, rules=rules[:1], scorers=(("csd", "1"), ("vlm", "1")))
    assert (loose.kept, loose.rejected, loose.pending) == (1, {}, 7)  # now b needs the vlm


def test_scorer_failure_is_rejected_failed_or_ignored_as_the_rule_says(tmp_path: Path) -> None:
    store = RunStore.create(tmp_path, {}, make_units(2), 2)
    (block,) = store.blocks()
    store.commit_candidates(make_work(block))
    a, b = (u.unit_id for u in block.units)
    store.commit_scores("vlm", "1", block, {a: {"vlm.x": 4.0}}, {b: Failure("vlm", "no answer\nthe judge said: hm")})
    rule = RuleConfig(column="vlm.x", min=3.0)
    report = seal(store, rules=(rule,), scorers=(("vlm", "1"),))
    assert report.rejected == {"vlm.x missing": 1} and index_of(store)["errors"].tolist() == [
        "", "vlm: no answer\nthe judge said: hm"]
    fails = seal(store, rules=(rule.model_copy(update={"missing": "fail"}),), scorers=(("vlm", "1"),))
    assert fails.failed == {"vlm: no answer": 1} and fails.rejected == {}
    ignores = seal(store, rules=(rule.model_copy(update={"missing": "ignore"}),), scorers=(("vlm", "1"),))
    assert ignores.kept == 2 and verify(tmp_path) == []


def test_near_duplicates_and_leaks_are_rejected(tmp_path: Path) -> None:
    units = make_units(10)  # 4 and 9 are val
    units[7] = replace(units[7], subject="Thing 4")  # a train unit with the subject of val unit 4
    units[3] = replace(units[3], inputs=units[2].inputs)  # both layouts of one target
    store = RunStore.create(tmp_path, {}, units, 5)
    alike = {2: 0b1, 3: 0b1, 5: 0b11, 8: 0b10, 9: 0b111}
    for block in store.blocks():
        store.commit_candidates(make_work(block))
        hashes = {u.unit_id: {"phash.bits": alike.get(u.index, hash_of(u))} for u in block.units if u.index != 6}
        errors = {u.unit_id: Failure("phash", "bad") for u in block.units if u.index == 6}
        store.commit_scores(*PHASH, block, hashes, errors)
    report = seal(store, near_duplicates=NearDuplicateConfig(max_distance=2), scorers=(PHASH,))
    index = index_of(store)
    assert index["status"][[0, 1, 2, 3, 7]].tolist() == ["kept"] * 5
    twin = f"near duplicate of {units[2].unit_id}"
    assert index["reason"][[5, 8]].tolist() == [twin, twin]
    assert index["reason"][[4, 9]].tolist() == ["leaks across the split"] * 2
    assert index["reason"][6] == "phash.bits missing"
    assert report.rejected == {"leaks across the split": 2, "near duplicate": 2, "phash.bits missing": 1}
    assert verify(tmp_path) == []


def test_rule_on_a_column_that_nobody_gives_is_refused(tmp_path: Path) -> None:
    store = fill(tmp_path, 4)
    with pytest.raises(ConfigError, match=r"rules: no scorer .*'csd.styl'; there are: csd.content_stylized"):
        seal_small(store, rules=(RuleConfig(column="csd.styl", min=1.0),))
    with pytest.raises(ConfigError, match="near_duplicates: no scorer"):
        seal_small(store, near_duplicates=NearDuplicateConfig(column="dhash.bits"))


def test_scorers_that_give_the_same_column_are_refused(tmp_path: Path) -> None:
    store = fill(tmp_path, 4)
    (block,) = store.blocks()
    store.commit_scores("again", "1", block, {block.units[0].unit_id: {"csd.style_stylized": 1.0}})
    with pytest.raises(StoreError, match=r"csd and again both give csd.style_stylized"):
        seal(store, scorers=(CSD, ("again", "1")))


def test_full_disk_keeps_the_former_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = fill(tmp_path)
    seal_small(store)
    before = bytes_of(store.paths.shards)
    monkeypatch.setattr("os.fsync", _full_disk)
    with pytest.raises(StoreError, match=r"No space left.*free some space"):
        seal_small(store, rules=RULES[1:])
    monkeypatch.undo()
    assert bytes_of(store.paths.shards) == before
    assert not (tmp_path / "shards.tmp").exists() and verify(tmp_path) == []


@pytest.mark.parametrize("renames", [0, 1, 2])
def test_kill_during_the_swap_is_mended_by_the_next_seal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                        renames: int) -> None:
    store = fill(tmp_path)
    seal_small(store)
    old = bytes_of(store.paths.shards)
    rename, calls = Path.rename, []

    def dying(self: Path, target: Any) -> Path:
        calls.append(target)
        if len(calls) > renames:
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", dying)
    monkeypatch.setattr("shutil.rmtree", _die_or_pass(renames))
    with pytest.raises(KeyboardInterrupt):
        seal_small(store, rules=RULES[1:])
    monkeypatch.undo()
    if renames == 0:
        assert bytes_of(store.paths.shards) == old
    if renames == 1:
        (fault,) = verify(tmp_path)
        assert "interrupted" in fault.says and bytes_of(tmp_path / "shards.old") == old
        monkeypatch.setattr("curate.seal.sealing.write_shards", _full_disk)
        with pytest.raises(StoreError, match="No space left"):
            seal_small(store, rules=RULES[1:])
        monkeypatch.undo()
        assert bytes_of(store.paths.shards) == old  # even a seal that fails puts the old set back
    seal_small(store, rules=RULES[1:])
    assert verify(tmp_path) == [] and not list(tmp_path.glob("shards.*"))
    assert bytes_of(store.paths.shards) != old


def _full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def _die_or_pass(renames: int) -> Any:
    """shutil.rmtree of a process that is killed: after both renames it dies instead of deleting the old set."""
    def rmtree(path: Path, **_: object) -> None:
        if renames == 2 and path.name == "shards.old" and path.exists():
            raise KeyboardInterrupt
    return rmtree


def test_folder_that_no_seal_wrote_is_left_alone(tmp_path: Path) -> None:
    store = fill(tmp_path, 4)
    store.paths.shards.mkdir()
    (store.paths.shards / "precious.tar").write_bytes(b"mine")
    with pytest.raises(StoreError, match="not a sealed dataset"):
        seal_small(store)
    assert (store.paths.shards / "precious.tar").read_bytes() == b"mine"


def test_damaged_candidate_stops_the_seal_and_keeps_the_former_set(tmp_path: Path) -> None:
    store = fill(tmp_path, 4)
    seal_small(store)
    before = bytes_of(store.paths.shards)
    (tar,) = store.paths.candidates.glob("*.tar")
    raw = bytearray(tar.read_bytes())
    raw[600] ^= 1
    tar.write_bytes(raw)
    with pytest.raises(StoreError, match="damaged"):
        seal_small(store)
    assert bytes_of(store.paths.shards) == before


def test_accounting_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = fill(tmp_path)
    write = sealing.write_shards

    def forgetful(folder: Path, split: str, ids: list[str], *rest: Any) -> Any:
        return write(folder, split, ids[1:], *rest)

    monkeypatch.setattr(sealing, "write_shards", forgetful)
    with pytest.raises(StoreError, match="accounting: 17 kept, 15 written; 2 units"):
        seal_small(store)


def test_dataset_json_and_card(tmp_path: Path) -> None:
    store = fill(tmp_path)
    seal_small(store, near_duplicates=NearDuplicateConfig(max_distance=1))
    dataset = json.loads((store.paths.shards / "dataset.json").read_text())
    assert dataset["totals"]["planned"] == 20 and dataset["splits"]["val"]["samples"] == 4
    assert dataset["columns"] == {"csd.content_stylized": "float", "csd.style_stylized": "float", "phash.bits": "int64"}
    assert [s["samples"] for s in dataset["shards"]] == [4, 4, 5, 4]
    card = (store.paths.shards / "README.md").read_text()
    assert card.startswith("---\nlicense: other\n") and "path: val-*.tar" in card
    assert "**17 triplets** (train 13 in 3 shards, val 4 in 1 shard), out of 20 planned." in card
    assert "| MIT | someone | 34 |" in card and "1. `csd.style_stylized >= 0.5`" in card
    assert str(tmp_path) not in card and str(tmp_path) not in json.dumps(dataset)


def test_sealing_without_scorers_keeps_all_made(tmp_path: Path) -> None:
    store = fill(tmp_path, 4)
    assert seal(store, config=SealConfig(format="png")).kept == 3 and verify(tmp_path) == []
