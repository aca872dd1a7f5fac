"""``verify`` finds each planted fault, says it in words, and finds nothing in a sound run."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from curate.seal import verify
from curate.store import RunStore
from tests.runs import CSD, fill, make_units, make_work, png, seal_small


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sound") / "run"
    seal_small(fill(root))
    return root


@pytest.fixture
def run(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "run"))


def said(path: Path, *, deep: bool = False) -> str:
    return "\n".join(str(fault) for fault in verify(path, deep=deep))


def rewrite(shard: Path, change: Callable[[list[tuple[str, bytes]]], list[tuple[str, bytes]]], *, forge: bool = True,
            ) -> None:
    """Change a shard's members; ``forge`` also mends its entry in dataset.json, so that only the content is wrong."""
    with tarfile.open(shard) as tar:
        members = [(m.name, tar.extractfile(m).read()) for m in tar]  # type: ignore[union-attr]
    with tarfile.open(shard, "w") as tar:
        for name, data in change(members):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    if forge:
        raw = shard.read_bytes()
        path = shard.parent / "dataset.json"
        dataset = json.loads(path.read_text())
        entry = next(s for s in dataset["shards"] if s["name"] == shard.name)
        entry |= {"bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}
        path.write_text(json.dumps(dataset))


def test_sound_run_and_a_copy_of_its_shards_alone(run: Path, tmp_path: Path) -> None:
    assert verify(run, deep=True) == []
    alone = Path(shutil.copytree(run / "shards", tmp_path / "copy"))
    assert verify(alone) == []
    (alone / "val-000000.tar").unlink()
    assert "val-000000.tar: is missing" in said(alone)


def test_missing_member(run: Path) -> None:
    rewrite(run / "shards" / "train-000001.tar", lambda m: [x for x in m if x != m[1]])
    assert "train-000001.tar: sample" in said(run) and "has no .style.jpg" in said(run)


def test_stray_member(run: Path) -> None:
    rewrite(run / "shards" / "train-000001.tar", lambda m: [*m, (m[-1][0].replace(".json", ".extra"), b"")])
    assert "has a stray .extra" in said(run)


def test_member_twice(run: Path) -> None:
    rewrite(run / "shards" / "train-000001.tar", lambda m: [m[0], *m])
    assert "has two .content.jpg members" in said(run)


@pytest.mark.parametrize(("position", "data", "words"), [
    (0, b"\xff\xd8\xff not a picture", ".content.jpg does not decode"),
    (3, b"\xff\xfe", ".txt is not UTF-8"),
    (4, b"{", ".json cannot be parsed"),
    (4, b'{"unit_id": "other"}', ".json is of unit other"),
])
def test_damaged_member(run: Path, position: int, data: bytes, words: str) -> None:
    rewrite(run / "shards" / "train-000000.tar",
            lambda m: [(name, data if i == position else was) for i, (name, was) in enumerate(m)])
    assert words in said(run)


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9])
def test_truncated_tar(run: Path, keep: float) -> None:
    shard = run / "shards" / "train-000000.tar"
    raw = shard.read_bytes()
    shard.write_bytes(raw[:int(len(raw) * keep)])
    assert f"train-000000.tar: has {int(len(raw) * keep)} bytes where" in said(run)


def test_wrong_sha256(run: Path) -> None:
    shard = run / "shards" / "train-000000.tar"
    raw = bytearray(shard.read_bytes())
    raw[-1] ^= 1  # in the padding: only the hash can tell
    shard.write_bytes(raw)
    assert said(run) == "train-000000.tar: has been changed: its sha256 is not the one in dataset.json"


def test_unit_in_two_shards(run: Path) -> None:
    with tarfile.open(run / "shards" / "train-000000.tar") as tar:
        first = [(m.name, tar.extractfile(m).read()) for m in tar][:5]  # type: ignore[union-attr]
    rewrite(run / "shards" / "train-000001.tar", lambda m: [*m, *first])
    key = first[0][0].split(".")[0]
    assert f"train-000000.tar, train-000001.tar: unit {key} stands there 2 times" in said(run)


def test_members_of_a_sample_apart(run: Path) -> None:
    rewrite(run / "shards" / "train-000000.tar", lambda m: [*m[1:], m[0]])
    assert "stands there 2 times" in said(run)


def test_unit_in_the_wrong_shard(run: Path) -> None:
    a, b = (run / "shards" / f"train-00000{i}.tar" for i in (0, 1))
    ours, theirs = a.read_bytes(), b.read_bytes()
    a.write_bytes(theirs)
    b.write_bytes(ours)
    assert "belongs to train-000000.tar" in said(run)


def test_orphan_shard_and_foreign_file(run: Path) -> None:
    shutil.copy(run / "shards" / "train-000000.tar", run / "shards" / "train-000009.tar")
    (run / "shards" / ".train-000000.tar.1.tmp").write_bytes(b"")
    assert {f.place for f in verify(run)} == {"train-000009.tar", ".train-000000.tar.1.tmp"}


def test_listed_shard_missing(run: Path) -> None:
    (run / "shards" / "train-000000.tar").unlink()
    assert "train-000000.tar: is missing" in said(run) and "is kept, but in no shard" in said(run)


def change_index(run: Path, change: Callable[[list[dict[str, object]]], list[dict[str, object]]]) -> None:
    """Change rows of the index and mend its checksum."""
    path = run / "shards" / "index.parquet"
    table = pq.read_table(path)
    pq.write_table(type(table).from_pylist(change(table.to_pylist()), schema=table.schema), path)
    dataset = json.loads((run / "shards" / "dataset.json").read_text())
    raw = path.read_bytes()
    dataset["files"]["index.parquet"] = {"bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}
    (run / "shards" / "dataset.json").write_text(json.dumps(dataset))


def test_unit_missing_from_the_index(run: Path) -> None:
    change_index(run, lambda rows: rows[1:])
    assert "index.parquet: has 19 units where dataset.json says 20 were planned" in said(run)
    assert "is in the shard, but the index.parquet does not say kept" in said(run)


def test_unit_twice_in_the_index(run: Path) -> None:
    change_index(run, lambda rows: [*rows[:-1], rows[0]])
    assert "2 times" in said(run)


def test_status_that_does_not_add_up(run: Path) -> None:
    change_index(run, lambda rows: [{**r, "status": str(r["status"]).replace("failed", "pending")} for r in rows])
    assert "index.parquet: has 0 failed units where dataset.json says 1" in said(run)


def test_index_changed_behind_its_checksum(run: Path) -> None:
    path = run / "shards" / "index.parquet"
    path.write_bytes(path.read_bytes()[:-10])
    assert "index.parquet: has" in said(run) and "cannot be read" in said(run)


def test_index_of_another_plan(run: Path) -> None:
    RunStore.open(run).extend_plan(make_units(21), 4)
    assert "does not agree with the plan: 1 planned units are not in it" in said(run)


def test_kept_unit_without_a_candidate(run: Path) -> None:
    for folder in ("candidates", "ledger"):
        shutil.rmtree(run / folder)
    shutil.rmtree(run / "scores")
    assert "its candidate is not committed" in said(run)


def test_candidate_segments(run: Path) -> None:
    first, second, third, *_ = sorted((run / "candidates").glob("*.tar"))
    first.unlink()
    second.write_bytes(second.read_bytes()[:2000])
    raw = bytearray(third.read_bytes())
    raw[600] ^= 1
    third.write_bytes(raw)
    text = said(run)
    assert f"{first.name}: is missing, but" in text and f"{second.name}: ends before the images of unit" in text
    assert third.name not in text
    assert f"{third.name}: the content image of unit" in said(run, deep=True)


def test_images_of_another_size_than_the_run_says(tmp_path: Path) -> None:
    store = RunStore.create(tmp_path / "run", {"config": {"size": 16}}, make_units(4), 4)
    work = make_work(store.blocks()[0])
    odd = store.units()[2].unit_id
    work.images[odd]["stylized"] = png("large", px=32)
    store.commit_candidates(work)
    seal_small(store, rules=(), scorers=())
    assert said(store.root) == ""
    text = said(store.root, deep=True)
    assert text.endswith(f"unit {odd}: content 16 x 16 px, style 16 x 16 px, stylized 32 x 32 px, where the run's size "
                         "is 16 x 16 px") and len(text.splitlines()) == 1


def test_partial_segments(run: Path) -> None:
    rows = sorted((run / "ledger").glob("*.parquet"))[0]
    rows.write_bytes(rows.read_bytes()[:100])
    scores = sorted((run / "scores" / f"{CSD[0]}@{CSD[1]}").glob("*.parquet"))[0]
    scores.write_bytes(b"PAR1")
    text = said(run)
    assert f"{rows.name}: cannot be used" in text and f"{scores.name}: cannot be used" in text


def test_scores_of_a_unit_nobody_made(run: Path) -> None:
    store = RunStore.open(run)
    failed = store.units()[1]
    store.commit_scores(*CSD, store.blocks()[0], {failed.unit_id: {"csd.style_stylized": 1.0}})
    assert f"scores unit {failed.unit_id}, which has no candidate" in said(run)


def test_tar_left_by_a_crash_is_no_fault(run: Path) -> None:
    (run / "candidates" / "seg-00ff.tar").write_bytes(b"written, but its rows never were")
    assert verify(run) == []


def test_things_that_are_no_run(run: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "neither a run directory" in said(tmp_path / "empty")
    (run / "shards" / "dataset.json").write_text("{")
    assert "dataset.json: cannot be used" in said(run)
    shutil.rmtree(run / "shards")
    assert said(run) == "shards: nothing is sealed yet; run `curate seal`"
    (run / "run.json").write_text('{"format": 99}')
    assert "not a run of format 2" in said(run)
    (run / "run.json").unlink()
