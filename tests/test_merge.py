"""Merging: one sound dataset out of several, no unit twice, no subject and no look-alike on both sides."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from curate.cli import app, main
from curate.dataset import SealedFolder
from curate.errors import ConfigError, StoreError
from curate.seal import NearDuplicateConfig, SealConfig, seal, verify
from curate.store import RunStore
from curate.trust.merge import merge
from tests.runs import PHASH, fill, hash_of, make_units, make_work, score, seal_small

MADE_BY = {"experts": {"stylize": {"model": "org/other", "licence": "Apache-2.0"}}}


def other_run(root: Path, *, scorer: str = "csd") -> RunStore:
    """Ten other units; unit 1 is a twin of unit 0 of ``fill``, unit 4 (val) has a train subject of it."""
    units = make_units(10, run="other")
    units = [replace(u, subject=f"foreign {u.index}", style_subject=f"foreign style {u.index}",
                     inputs={role: replace(one, sha256=hashlib.sha256(f"{role} {u.index}".encode()).hexdigest(),
                                           licence="CC0") for role, one in u.inputs.items()}) for u in units]
    units[4] = replace(units[4], subject="THING 0")
    store = RunStore.create(root, {}, units, 5)
    first = make_units(1)[0]
    for block in store.blocks():
        store.commit_candidates(make_work(block), provenance=MADE_BY)
        rows = {u.unit_id: {key.replace("csd", scorer): v for key, v in score(u).items()} for u in block.units}
        store.commit_scores(scorer, "f00d", block, rows)
        bits = {u.unit_id: {"phash.bits": hash_of(first) ^ 1 if u.index == 1 else hash_of(u)} for u in block.units}
        store.commit_scores(*PHASH, block, bits)
    return store


def test_a_merged_dataset_verifies_and_accounts_for_every_unit(tmp_path: Path) -> None:
    a, b = fill(tmp_path / "a"), other_run(tmp_path / "b")
    reports = [seal_small(store, near_duplicates=NearDuplicateConfig()) for store in (a, b)]
    out = tmp_path / "all"
    merge([tmp_path / "a", b.paths.shards], out, skip_duplicates=False)
    assert verify(out) == []
    index = pd.read_parquet(out / "index.parquet").set_index("unit_id")
    assert list(index["index"]) == list(range(30))
    found = index["reason"][index["status"] == "rejected"]
    assert found[b.units()[1].unit_id] == f"near duplicate of {a.units()[0].unit_id}"
    assert found[b.units()[4].unit_id] == "leaks across the split"
    assert (index["status"] == "kept").sum() == sum(report.kept for report in reports) - 2
    before = SealedFolder(tmp_path / "a")
    for unit_id in list(before.shard_of)[:5]:
        assert SealedFolder(out).members(unit_id) == before.members(unit_id)  # bytes as they were
    card = (out / "README.md").read_text()
    assert "| MIT | someone |" in card and "| CC0 | someone | 12 |" in card
    assert card.count("| stylize | org/other | Apache-2.0 |") == 1
    sources = json.loads((out / "dataset.json").read_text())["sources"]
    assert [one["totals"]["planned"] for one in sources] == [20, 10]
    again = tmp_path / "again"
    merge([tmp_path / "a", b.paths.shards], again, skip_duplicates=False)
    assert {p.name: p.read_bytes() for p in again.iterdir()} == {p.name: p.read_bytes() for p in out.iterdir()}


def test_units_in_two_datasets_are_refused_or_taken_once(tmp_path: Path) -> None:
    store = fill(tmp_path / "a")
    kept = seal_small(store).kept
    copy = Path(shutil.copytree(tmp_path / "a", tmp_path / "copy"))
    with pytest.raises(ConfigError, match="20 units stand in two datasets"):
        merge([tmp_path / "a", copy], tmp_path / "out", skip_duplicates=False)
    assert not (tmp_path / "out").exists()
    merge([tmp_path / "a", copy], tmp_path / "out", skip_duplicates=True)
    assert verify(tmp_path / "out") == [] and len(SealedFolder(tmp_path / "out").shard_of) == kept


def test_the_command_says_what_became_of_the_units_and_refuses_duplicates(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    kept = sum(seal_small(store).kept for store in (fill(tmp_path / "a"), other_run(tmp_path / "b")))
    a, b, out = (str(tmp_path / name) for name in ("a", "b", "out"))
    done = CliRunner().invoke(app, ["merge", a, b, "--out", out])
    assert done.exit_code == 0 and f"30 planned: kept {kept - 1}, " in done.stderr  # one subject stands on both sides
    assert verify(Path(out)) == []
    monkeypatch.setattr(sys, "argv", ["curate", "merge", a, out, "--out", str(tmp_path / "again")])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("curate: 20 units stand in two datasets") and "--skip-duplicates" in said
    assert not (tmp_path / "again").exists()
    done = CliRunner().invoke(app, ["merge", a, out, "--out", str(tmp_path / "again"), "--skip-duplicates"])
    assert done.exit_code == 0 and verify(tmp_path / "again") == [], done.output


def test_samples_of_different_scorers_get_the_same_keys(tmp_path: Path) -> None:
    seal_small(fill(tmp_path / "a"))
    b = other_run(tmp_path / "b", scorer="other")
    seal(b, scorers=[("other", "f00d"), PHASH])
    merge([tmp_path / "a", tmp_path / "b"], tmp_path / "out", skip_duplicates=False)
    assert verify(tmp_path / "out") == []
    keys = set()
    for path in (tmp_path / "out").glob("*.tar"):
        with tarfile.open(path) as tar:
            keys |= {tuple(json.loads(tar.extractfile(m).read())["scores"])  # type: ignore[union-attr]
                     for m in tar if m.name.endswith(".json")}
    assert len(keys) == 1 and {"csd.style_stylized", "other.style_stylized"} <= set(next(iter(keys)))


def test_what_does_not_go_together_is_refused(tmp_path: Path) -> None:
    a, b = fill(tmp_path / "a"), other_run(tmp_path / "b")
    seal_small(a)
    seal_small(b, config=SealConfig(format="png"))
    with pytest.raises(ConfigError, match=r"different members \(shards.format\)"):
        merge([a.root, b.root], tmp_path / "out", skip_duplicates=False)
    with pytest.raises(ConfigError, match="one of the datasets"):
        merge([a.root], a.paths.shards, skip_duplicates=False)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(StoreError, match="move it away first"):
        merge([a.root], tmp_path / "mine", skip_duplicates=False)
    assert (tmp_path / "mine" / "letter.txt").exists()
