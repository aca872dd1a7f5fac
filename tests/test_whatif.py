"""`curate whatif` says what `seal` would do, whatever the rules, from the index of another seal."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from curate.cli import app
from curate.errors import ConfigError, StoreError
from curate.files import write_json
from curate.records import Failure
from curate.seal import changed_rules, seal
from curate.steer.whatif import try_rules
from curate.store import RunStore
from tests.runs import fill, make_units, make_work, seal_small

SCORERS = (("csd", "1"), ("hash", "1"), ("vlm", "1"))
SEALED = {"rules": [{"column": "csd.a", "min": 0.3}, {"column": "vlm.x", "min": 1.0}],
          "near_duplicates": {"column": "hash.bits"}}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> RunStore:
    """240 units: failures of every kind, missing numbers, a cascade, look-alikes, subjects on both sides."""
    rng = np.random.default_rng(0)
    units = [replace(unit, subject=f"thing {rng.integers(100)}", style_subject="" if unit.index % 9 == 0 else "Other")
             for unit in make_units(240)]
    units = [replace(u, inputs={**u.inputs, "stylized": units[u.index // 2 * 2].inputs["stylized"]}) for u in units]
    store = RunStore.create(tmp_path_factory.mktemp("whatif") / "run", {}, units, 8)
    hashes = rng.integers(0, 2**63, 60)
    for block in store.blocks()[:-1]:
        lost = [u.unit_id for u in block.units if rng.random() < 0.05]
        store.commit_candidates(make_work(block, failed=lost))
        made = [u.unit_id for u in block.units if u.unit_id not in lost]
        csd = {u: {"csd.a": rng.random(), "csd.b": float("nan") if rng.random() < 0.1 else rng.random()} for u in made}
        store.commit_scores("csd", "1", block, csd)
        bits = {u: {"hash.bits": int(rng.choice(hashes)) ^ (1 << int(rng.integers(60)))} for u in made[1:]}
        store.commit_scores("hash", "1", block, bits, {made[0]: Failure("hash", "no: such; thing")})
        seen = [u for u in made if csd[u]["csd.a"] > 0.2]
        errors = {u: Failure("vlm", "would not say") for u in seen if rng.random() < 0.1}
        vlm = {u: {"vlm.x": float("nan") if rng.random() < 0.1 else rng.random() * 4} for u in seen if u not in errors}
        store.commit_scores("vlm", "1", block, vlm, errors)
    sealed = changed_rules(SEALED)
    seal(store, rules=sealed.rules, near_duplicates=sealed.near_duplicates, scorers=SCORERS)
    return store


def some_rules(rng: np.random.Generator) -> dict[str, Any]:
    rules = []
    for column, top in (("csd.a", 1), ("csd.b", 1), ("vlm.x", 4), ("csd.a", 1)):
        if rng.random() < 0.7:
            bound = "min" if rng.random() < 0.6 else "max"
            value = float(rng.uniform(0, 0.5) if bound == "min" else rng.uniform(0.5, 1)) * top
            rules.append({"column": column, bound: value, "missing": str(rng.choice(["reject", "ignore", "fail"])),
                          "layout": "shifted" if rng.random() < 0.2 else None})
    near = {"column": "hash.bits", "max_distance": int(rng.integers(0, 6))} if rng.random() < 0.7 else None
    return {"rules": rules, "near_duplicates": near}


def test_twenty_random_rule_sets_agree_with_seal(store: RunStore, tmp_path: Path) -> None:
    seen: Counter[str] = Counter()
    for number in range(20):
        rules = changed_rules(some_rules(np.random.default_rng(number)))
        file = tmp_path / f"{number}.yaml"
        file.write_text(yaml.safe_dump(rules.model_dump(mode="json")))
        base, changed = try_rules(store.root, file)
        other = RunStore.open(Path(shutil.copytree(store.root, tmp_path / f"run{number}")))
        report = seal(other, rules=rules.rules, near_duplicates=rules.near_duplicates, scorers=SCORERS)
        assert (changed.kept, changed.rejected, changed.failed, changed.pending, changed.val) == (
            report.kept, sum(report.rejected.values()), sum(report.failed.values()), report.pending,
            report.samples.get("val", 0))
        ids = [set(index[index["status"] == "kept"]["unit_id"]) for index in map(index_of, (store, other))]
        assert (changed.gained, changed.lost) == (len(ids[1] - ids[0]), len(ids[0] - ids[1]))
        assert base == try_rules(store.root, file)[0] and base.gained == base.lost == 0
        seen.update(reason.split(":")[0] for reason in (*report.rejected, *report.failed))
        shutil.rmtree(other.root)
    assert {"near duplicate", "leaks across the split", "stylize", "vlm", "hash.bits missing"} <= set(seen)


def index_of(store: RunStore) -> pd.DataFrame:
    return pd.read_parquet(store.paths.shards / "index.parquet")


def test_lists_of_values_are_swept_and_combined(store: RunStore) -> None:
    sets = ("rules.0.min=[0.1,0.9]", "near_duplicates.max_distance=[0, 5]", "rules.1.min=0")
    found = try_rules(store.root, None, sets)
    assert [one.name for one in found][1:3] == [
        "rules.0.min=0.1  near_duplicates.max_distance=0  rules.1.min=0",
        "rules.0.min=0.1  near_duplicates.max_distance=5  rules.1.min=0"]
    assert len(found) == 5 and found[1].kept > found[2].kept > found[4].kept


def test_without_options_each_rule_is_left_out_once(store: RunStore) -> None:
    names = [one.name for one in try_rules(store.root)]
    assert names == ["as sealed", "without csd.a >= 0.3", "without vlm.x >= 1", "near-duplicates allowed"]


def test_a_selection_holds_under_other_rules(tmp_path: Path) -> None:
    store = fill(tmp_path)
    some = frozenset(unit.unit_id for unit in store.units()[:10])
    report = seal_small(store, selected=some)
    assert report.rejected["not selected"] == 10 and report.kept == 7
    assert try_rules(tmp_path)[1].kept == 8  # unit 3 is selected and passes the other rule; unit 1 has no images


def test_only_what_scores_can_answer(store: RunStore, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="only rules and near_duplicates"):
        try_rules(store.root, None, ("seed=3",))
    with pytest.raises(ConfigError, match=r"rules: no scorer of this run gives 'csd.c'"):
        try_rules(store.root, None, ("rules.0.column=csd.c",))
    with pytest.raises(StoreError, match="neither a run directory"):
        try_rules(tmp_path)
    old = Path(shutil.copytree(store.paths.shards, tmp_path / "old"))
    index = pd.read_parquet(old / "index.parquet").drop(columns="source_key")
    index.to_parquet(old / "index.parquet")
    with pytest.raises(StoreError, match=r"earlier version \(no source_key\)"):
        try_rules(old)


def test_a_copy_of_the_shards_is_enough(store: RunStore, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(store.paths.shards, tmp_path / "shards"))
    result = CliRunner().invoke(app, ["whatif", str(copy), "--set", "rules=[]"])
    assert result.exit_code == 0 and "as sealed" in result.output and "rules=[]" in result.output
    dataset = json.loads((copy / "dataset.json").read_text())
    write_json(copy / "dataset.json", {**dataset, "rules": []})
    assert try_rules(copy)[0].kept > try_rules(store.root)[0].kept
