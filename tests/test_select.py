"""Selections: balanced, far apart, free of near-duplicates, and a function of the units alone."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from curate.cli import app
from curate.config import load_yaml
from curate.dataset.ids import read_ids
from curate.errors import ConfigError
from curate.run.config import DEFAULT_CONFIG
from curate.steer.choosing import Candidate, choose
from curate.steer.embeddings import batches, embeddings
from curate.steer.select import select
from curate.store import RunStore
from tests.drawn_run import make_run, seal_run


def unit_vectors(n: int, seed: int = 0, d: int = 8) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def many(n: int = 300) -> list[Candidate]:
    """Of style 0 there are ten times as many as of the others, of subject 0 as well."""
    rng = np.random.default_rng(1)
    return [Candidate(f"u{i}", f"style {rng.choice(5, p=[0.72, *[0.07] * 4])}",
                      f"subject {rng.choice(10, p=[0.55, *[0.05] * 9])}") for i in range(n)]


def test_styles_and_subjects_are_balanced_whatever_the_order() -> None:
    units, vectors = many(), unit_vectors(300)
    choice = choose(units, vectors, 50, max_similarity=1.0)
    by_id = {one.unit_id: one for one in units}
    styles = Counter(by_id[u].style for u in choice.unit_ids)
    subjects = Counter(by_id[u].subject for u in choice.unit_ids)
    assert len(set(choice.unit_ids)) == 50 and set(styles.values()) == {10} and max(subjects.values()) <= 10
    back = list(reversed(range(300)))
    assert choose([units[i] for i in back], vectors[back], 50, max_similarity=1.0) == choice
    assert choose(units, vectors, 20, max_similarity=1.0).unit_ids == choice.unit_ids[:20]


def test_the_chosen_are_far_apart() -> None:
    vectors = unit_vectors(400, d=3)
    units = [Candidate(f"u{i}", "", "") for i in range(400)]
    chosen = [int(u[1:]) for u in choose(units, vectors, 30, max_similarity=1.0).unit_ids]

    def closest(rows: list[int]) -> float:
        cosines = vectors[rows] @ vectors[rows].T - 2 * np.eye(len(rows), dtype=np.float32)
        return float(cosines.max())

    assert closest(chosen) < min(closest(list(range(at, at + 30))) for at in range(0, 360, 30)) - 0.05


def test_near_duplicates_are_passed_over_even_if_fewer_come_out() -> None:
    ten = unit_vectors(10)
    vectors = np.repeat(ten, 5, axis=0) + np.random.default_rng(2).normal(size=(50, 8)).astype(np.float32) * 1e-3
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    units = [Candidate(f"u{i}", f"style {i % 3}", "") for i in range(50)]
    choice = choose(units, vectors, 30, max_similarity=0.99)
    assert sorted(int(u[1:]) // 5 for u in choice.unit_ids) == list(range(10)) and choice.duplicates == 40


def test_command_writes_ids_that_seal_takes(tmp_path: Path) -> None:
    store = make_run(tmp_path / "run", num_units=40)
    config = load_yaml(DEFAULT_CONFIG)[0]
    rules = [{"column": "csd.style.style_stylized", "min": 0.5}]
    store.update_info({"config": {**config, "scorers": {"csd": {"kind": "csd"}}, "cascade": [], "rules": rules,
                                  "near_duplicates": None}, "scorers": {}})
    kept = seal_run(store).kept
    result = CliRunner().invoke(app, ["select", str(store.root), "-k", "8", "--max-similarity", "1"])
    assert result.exit_code == 0, result.output
    ids = read_ids(store.root / "selected.txt", [unit.unit_id for unit in store.units()])
    assert len(ids) == 8
    assert result.stderr.startswith(f"8 triplets of the {kept} kept chosen (3 styles, 8 subjects by name)\n/")
    index = pd.read_parquet(store.paths.shards / "index.parquet").set_index("unit_id")
    assert set(index.loc[list(ids), "status"]) == {"kept"} and index.loc[list(ids), "style"].nunique() == 4
    few = CliRunner().invoke(app, ["select", str(store.root), "-k", "8", "--max-similarity", "-1"]).stderr
    assert few.startswith(f"1 triplet of the {kept} kept chosen (") and few.splitlines()[1:3] == [
        f"{kept - 1} passed over: more alike than -1 (--max-similarity) to a chosen one, as triplets of one target are",
        "8 were asked for, but no more are kept and unlike those"]
    select(store.root, 8, None, max_similarity=1.0)
    written = (store.paths.embeddings).iterdir()
    before = {path: path.stat().st_mtime_ns for path in written}
    select(store.root, kept, tmp_path / "all.txt", max_similarity=1.0)
    assert len(before) == 1 and {path: path.stat().st_mtime_ns for path in before} == before  # no network again
    assert (tmp_path / "all.txt").read_text().splitlines()[1:9] == (
        (store.root / "selected.txt").read_text().splitlines()[1:])


def test_a_vector_does_not_depend_on_what_was_embedded_before(tmp_path: Path) -> None:
    store = make_run(tmp_path / "run", num_units=40)
    config = load_yaml(DEFAULT_CONFIG)[0]
    scorers = {name: config["scorers"][name] for name in ("clip", "csd")}
    store.update_info({"config": {**config, "scorers": scorers, "cascade": [], "rules": []}, "scorers": {}})
    fresh = RunStore.open(Path(shutil.copytree(store.root, tmp_path / "fresh")))
    made = [unit.unit_id for unit in store.units() if unit.index % 10 != 9]
    for part in (made[5:6], made[20:], made[::2]):
        embeddings(store, part)
    assert np.array_equal(embeddings(store, made), embeddings(fresh, made))
    for part in (made, made * 9, []):
        assert sorted(unit_id for batch in batches(part) for unit_id in batch if unit_id) == sorted(part)


def test_ids_of_strangers_are_refused_with_the_line(tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("# mine\n\na\nb\nc\n")
    with pytest.raises(ConfigError, match=r"ids.txt:4: 'b' is no unit here \(nor are 1 others\)"):
        read_ids(tmp_path / "ids.txt", ["a"])
    with pytest.raises(ConfigError, match="cannot be read"):
        read_ids(tmp_path / "none.txt", [])
