"""A run directory in an object store: the same bytes as on a disk, resumable, verifiable, and honest about trouble."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

import curate
from curate.cli import app
from curate.engine import EngineConfig, execute
from curate.errors import StoreError
from curate.files import append_line, as_path, is_remote, list_files, read_range, write_atomic
from curate.report import collect
from curate.run.looking import show_stats
from curate.seal import seal, verify
from curate.store import RunStore
from tests.engine_parts import BlendExpert, ScoreStep, ToneScorer, make_steps, make_store
from tests.runs import PHASH, fill, seal_small
from tests.s3_server import s3_server
from tests.test_merge import other_run


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with s3_server() as url:
        yield url


def dataset(root: Path) -> dict[str, bytes]:
    """The sealed files by name."""
    return {name: (root / "shards" / name).read_bytes() for name in list_files(root / "shards")}


def test_the_primitives_do_the_same_in_both_places(bucket: str, tmp_path: Path) -> None:
    for root in (tmp_path, as_path(f"{bucket}/plain")):
        assert list_files(root / "none") == {}
        write_atomic(root / "a" / "x.bin", b"0123456789")
        write_atomic(root / "a" / "x.bin", b"9876543210")
        append_line(root / "a" / "log", "one")
        append_line(root / "a" / "log", "two")
        write_atomic(root / "a" / "below" / "y", b"")
        assert {name: size for name, (_, size) in list_files(root / "a").items()} == {"x.bin": 10, "log": 8}
        assert (root / "a" / "log").read_text() == "one\ntwo\n"
        assert read_range(root / "a" / "x.bin", 2, 5) == b"765" and read_range(root / "a" / "x.bin", 8, 20) == b"10"
    assert is_remote(as_path(bucket)) and not is_remote(as_path(str(tmp_path)))


def test_a_sealed_run_has_the_bytes_of_one_on_a_disk(bucket: str, tmp_path: Path) -> None:
    remote = fill(as_path(f"{bucket}/sealed"))
    local = fill(tmp_path)
    for store in (remote, local):
        seal_small(store)
        seal_small(RunStore.open(store.root))  # over the former set
    assert dataset(remote.root) == dataset(local.root) and len(dataset(local.root)) > 4
    assert verify(remote.root, deep=True) == []
    assert list_files(remote.paths.candidates).keys() == list_files(local.paths.candidates).keys()
    assert not list_files(remote.root / "shards.tmp")


def test_fewer_shards_leave_none_of_the_former_set(bucket: str) -> None:
    store = fill(as_path(f"{bucket}/fewer"))
    seal_small(store)
    many = set(list_files(store.paths.shards))
    seal(store, scorers=(PHASH,))
    assert set(list_files(store.paths.shards)) < many and verify(store.root) == []


def test_an_interrupted_swap_says_so_and_is_sealed_again(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = fill(as_path(f"{bucket}/swap"))
    seal_small(store)
    whole = dataset(store.root)

    def dies(source: Path, target: Path) -> None:
        raise OSError("connection lost")

    with monkeypatch.context() as broken:
        broken.setattr("curate.seal.publish.copy_file", dies)
        with pytest.raises(StoreError, match="connection lost"):
            seal_small(store)
    assert any("seal again" in fault.says for fault in verify(store.root))
    seal_small(RunStore.open(store.root))
    assert dataset(store.root) == whole and verify(store.root) == []


def test_the_local_engine_resumes_in_a_bucket_and_counts_attempts(bucket: str, tmp_path: Path) -> None:
    root = as_path(f"{bucket}/engine")
    store = make_store(root)
    block = store.blocks()[0]
    assert [store.begin_attempt(block.block_id) for _ in range(3)] == [1, 2, 3]
    steps = make_steps(BlendExpert(), ScoreStep("tone", ToneScorer(), "f1"))
    report = execute(store, steps, EngineConfig())
    assert (report.made, report.isolated_blocks) == (12, 1) and not list_files(store.paths.attempts)
    assert execute(make_store(root), steps, EngineConfig()).blocks == 0
    local = make_store(tmp_path / "run")
    execute(local, steps, EngineConfig())
    for folder in ("candidates", "scores/tone@f1"):
        names = [n for n in list_files(local.root / folder) if n.endswith(".tar") or folder != "candidates"]
        assert names and all((local.root / folder / n).read_bytes() == (root / folder / n).read_bytes() for n in names)


def test_statistics_are_read_and_written_there(bucket: str, capsys: pytest.CaptureFixture[str]) -> None:
    store = fill(as_path(f"{bucket}/looked"))
    assert collect(store.root)["funnel"]["undecided"] > 0
    seal_small(store)
    show_stats(store.root, as_json=True)
    said = json.loads(capsys.readouterr().out)
    assert said["run"] == "looked" and set(list_files(store.root / "report")) == {"stats.json", "contact_sheet.png"}


def test_runs_there_are_compared_merged_exported_and_opened(bucket: str, tmp_path: Path) -> None:
    one, other = fill(as_path(f"{bucket}/one")), other_run(as_path(f"{bucket}/other"))
    for store in (one, other):
        seal_small(store)
    urls = [f"{bucket}/one", f"{bucket}/other"]
    asked = CliRunner()
    done = asked.invoke(app, ["report", *urls])
    assert done.exit_code == 0 and done.output.strip().endswith("/other/report/beside-one.html"), done.output
    assert "</html>" in (other.root / "report" / "beside-one.html").read_text()
    assert "\nunits: 20 only in the first" in asked.invoke(app, ["diff", *urls]).output
    assert asked.invoke(app, ["diff", urls[0], urls[0]]).output == "no differences\n"
    done = asked.invoke(app, ["merge", *urls, "--out", str(tmp_path / "merged")])
    assert done.exit_code == 0 and verify(tmp_path / "merged") == [], done.output
    done = asked.invoke(app, ["export", urls[0], str(tmp_path / "out"), "--as", "folder"])
    opened = curate.open(urls[0])
    assert done.exit_code == 0 and len(list((tmp_path / "out").rglob("*.stylized.jpg"))) == len(opened) > 9
    assert opened[0].stylized.size == (16, 16)


def test_no_bucket_and_no_library_are_one_clear_error(bucket: str) -> None:
    with pytest.raises(StoreError, match=r"s3://nowhere/run.*cannot be written"):
        fill(as_path("s3://nowhere/run"))
    with pytest.raises(StoreError, match="not a run directory"):
        RunStore.open(as_path(f"{bucket}/empty"))
    with pytest.raises(StoreError, match="nosuchscheme://x: cannot be opened"):
        as_path("nosuchscheme://x")
