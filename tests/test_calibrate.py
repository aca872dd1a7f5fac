"""Calibration: thresholds that keep their promise on units nobody labelled, and honest words when they cannot."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.stats import binomtest
from typer.testing import CliRunner

from curate.cli import app
from curate.errors import ConfigError
from curate.seal import RuleConfig, decide, seal
from curate.steer.bounds import interval, labels_needed, lower_bound
from curate.steer.calibrate import calibrate_run
from curate.steer.labels import Label, write_labels
from curate.steer.peeling import peel
from curate.steer.sides import Sides, inside, rounded
from curate.steer.thresholds import counted, find_thresholds
from curate.store import RunStore
from tests.runs import make_units, make_work

RULES = (RuleConfig(column="a", min=0.0), RuleConfig(column="b", max=1.0, reason="b leaks"),
         RuleConfig(column="c", min=0.0, layout="shifted"))


def pool(n: int, seed: int = 0, *, skill: float = 2.0) -> tuple[pd.DataFrame, np.ndarray]:
    """Scores of triplets and whether they are good: a third are bad, each by a fault that one column sees."""
    rng = np.random.default_rng(seed)
    fault = rng.choice(["", "a", "b", "c"], n, p=[0.7, 0.1, 0.1, 0.1])
    frame = pd.DataFrame({name: rng.normal(size=n) for name in "abc"}).astype(np.float32)
    frame["layout"] = np.where((fault == "c") | (rng.random(n) < 0.5), "shifted", "preserved")
    for name, sign in (("a", -1), ("b", 1), ("c", -1)):
        frame.loc[fault == name, name] += sign * skill * 1.5
    return frame, fault == ""


def test_bounds_are_those_of_the_exact_binomial_test() -> None:
    assert lower_bound(95, 100, 0.95) == pytest.approx(
        binomtest(95, 100).proportion_ci(0.9, "exact").low)  # one-sided 95 % = lower end of two-sided 90 %
    assert interval(3, 7, 0.9) == pytest.approx(tuple(binomtest(3, 7).proportion_ci(0.9, "exact")))
    assert (lower_bound(0, 9, 0.95), interval(0, 9, 0.9)[0], interval(9, 9, 0.9)[1]) == (0, 0, 1)
    assert lower_bound(58, 58, 0.95) < 0.95 < lower_bound(59, 59, 0.95)
    assert labels_needed(1.0, 0.95, 0.95) == 59 and labels_needed(0.95, 0.95, 0.95) is None
    needed = labels_needed(0.97, 0.95, 0.95)
    drawn = np.random.default_rng(0).binomial(needed or 0, 0.97, 2000)
    passed = np.mean([lower_bound(int(good), needed or 0, 0.95) >= 0.95 for good in drawn])
    assert needed and 400 < needed < 1200 and 0.77 < passed < 0.87


def test_a_box_keeps_exactly_what_its_rules_keep() -> None:
    frame, _ = pool(500)
    frame.loc[::17, "a"] = np.nan
    frame.loc[::13, "b"] = np.nan
    rules = (RuleConfig(column="a", min=0.1, max=0.9), RuleConfig(column="b", max=0.5, missing="ignore"), RULES[2])
    sides, rng = Sides(rules), np.random.default_rng(1)
    for _ in range(20):
        box = rounded(np.where(rng.random(4) < 0.2, -np.inf, rng.normal(-0.5, 0.5, 4)))
        box[1] = min(box[1], -box[0])  # max of "a" above its min
        passed = decide(frame, [rule for rule in sides.with_thresholds(box) if rule]).table["verdict"] == "pass"
        dropped = frame["a"].isna() if np.isinf(box[:2]).all() else np.zeros(500, dtype=bool)  # see guarded
        assert np.array_equal(inside(sides.values(frame), box), passed & ~dropped)


def test_peeling_finds_the_faulty_sides() -> None:
    frame, good = pool(2000)
    frame["noise"] = np.random.default_rng(5).normal(size=2000).astype(np.float32)
    values = Sides((*RULES, RuleConfig(column="noise", min=0.0))).values(frame)
    boxes = peel(values, good, fewest=10, floor=np.full(4, -np.inf))
    yields = np.array([inside(values, box).mean() for box in boxes])
    shares = np.array([good[inside(values, box)].mean() for box in boxes])
    assert np.isneginf(boxes[0]).all() and shares[0] == good.mean() and (np.diff(yields) < 0).all()
    assert all((after >= before).all() for before, after in itertools.pairwise(boxes))  # nested
    middle = int(np.argmin(np.abs(yields - 0.6)))
    assert shares[middle] > 0.93 and np.isneginf(boxes[middle]).tolist() == [False, False, False, True]


def test_rules_that_are_left_out_let_no_unit_without_a_number_in() -> None:
    frame, _ = pool(500)
    frame.loc[::17, "a"] = np.nan
    sides = Sides(RULES)
    values, free = sides.values(frame), np.full(3, -np.inf)
    rules = [rule for rule in sides.with_thresholds(sides.guarded(free, values)) if rule]
    assert [rule.column for rule in rules] == ["a"]  # b and c have all their numbers and are not needed
    passed = decide(frame, rules).table["verdict"] == "pass"
    assert np.array_equal(passed, inside(values, free)) and passed.sum() == frame["a"].notna().sum()


def test_the_promise_is_kept_where_nobody_labelled() -> None:
    frame, good = pool(10_000)
    values, rng = Sides(RULES).values(frame), np.random.default_rng(3)
    met, shares = 0, []
    for _ in range(20):
        some = rng.choice(len(good), 1600, replace=False)
        found = find_thresholds(values[some], good[some], rng.random(1600) < 0.5, values, precision=0.93,
                                confidence=0.9)
        assert found.thresholds is not None and found.bound >= 0.93, found
        kept = inside(values, found.thresholds)
        shares.append(kept.mean())
        met += bool(good[kept].mean() >= 0.93)
    assert met >= 18 and np.mean(shares) > 0.5


def test_labels_that_chose_do_not_judge() -> None:
    frame, good = pool(1200)
    values, searching = Sides(RULES).values(frame), np.arange(1200) % 5 < 2
    found = find_thresholds(values, good, searching, values, precision=0.9, confidence=0.95)
    assert found.thresholds is not None
    assert found.tested == counted(values[~searching], good[~searching], found.thresholds)
    assert found.bound == pytest.approx(lower_bound(found.tested.good, found.tested.n, 0.95)) and found.bound >= 0.9
    worse = good & (searching | (np.arange(1200) % 5 > 2))  # a third of the testing labels turn bad
    assert find_thresholds(values, worse, searching, values, precision=0.9, confidence=0.95).thresholds is None


def test_noise_is_not_sold_as_knowledge() -> None:
    rng = np.random.default_rng(0)
    passed = 0
    for _ in range(20):
        values, good = rng.normal(size=(300, 4)), rng.random(300) < 0.9
        found = find_thresholds(values, good, rng.random(300) < 0.4, values, precision=0.95, confidence=0.95)
        passed += found.thresholds is not None
    assert passed <= 3


def make_run(root: Path, n: int = 800, *, skill: float = 3.0) -> tuple[RunStore, np.ndarray]:
    """A sealed run with the scores of ``pool``, and the truth by index."""
    frame, good = pool(n, skill=skill)
    units = [replace(u, layout=frame["layout"][u.index], subject="", side="train") for u in make_units(n)]
    store = RunStore.create(root, {"config": {}}, units, 200)
    for block in store.blocks():
        store.commit_candidates(make_work(block, failed=[u.unit_id for u in block.units if u.index % 50 == 49]))
        rows = {u.unit_id: {name: float(frame[name][u.index]) for name in "abc"} for u in block.units}
        store.commit_scores("s", "1", block, {u: row for u, row in rows.items()
                                              if u not in {x.unit_id for x in block.units if x.index % 50 == 49}})
    seal(store, rules=RULES, scorers=[("s", "1")])
    return store, good


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunStore, np.ndarray]:
    store, good = make_run(tmp_path_factory.mktemp("calibrate") / "run")
    rows = [Label(u.unit_id, bool(good[u.index]), "" if good[u.index] else "style") for u in store.units()]
    write_labels(store.root / "labels.parquet", [*rows[:700], Label("elsewhere", True)])
    return store, good


def test_command_writes_rules_that_seal_takes(labelled: tuple[RunStore, np.ndarray], tmp_path: Path) -> None:
    store, good = labelled
    out = tmp_path / "new.yaml"
    result = CliRunner().invoke(app, ["calibrate", str(store.root), "--precision", "0.9", "--out", str(out)],
                                env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    assert "15 more are of triplets that are not here" in result.output  # failed ones have no images to judge
    assert "style 0" in result.output or "style 1" in result.output
    text = out.read_text()
    rules = [RuleConfig.model_validate(rule) for rule in yaml.safe_load(text)["rules"]]
    assert text.startswith("# curate calibrate: precision 0.9 with confidence 0.975")
    assert {rule.column: rule.reason for rule in rules}["b"] == "b leaks"
    report = seal(store, rules=rules, scorers=[("s", "1")])
    index = pd.read_parquet(store.paths.shards / "index.parquet")
    kept = index["index"][index["status"] == "kept"].to_numpy()
    assert report.kept == len(kept) > 300 and good[kept].mean() > 0.9
    assert f"keep {report.kept / (800 - 16):.1%}" in result.output
    seal(store, rules=RULES, scorers=[("s", "1")])


def test_too_few_labels_are_said_with_how_many_more(labelled: tuple[RunStore, np.ndarray], tmp_path: Path,
                                                    capsys: pytest.CaptureFixture[str]) -> None:
    store, good = labelled
    few = tmp_path / "few.parquet"
    write_labels(few, [Label(u.unit_id, bool(good[u.index])) for u in store.units()[:60]])
    assert calibrate_run(store.root, few, None, tmp_path / "no.yaml", precision=0.95, confidence=0.95) == 1
    said = " ".join(capsys.readouterr().out.split())
    more = int(said.partition("about ")[2].partition(" more")[0])
    assert "too few labels" in said and 60 < more < 3000 and not (tmp_path / "no.yaml").exists()


def test_scores_that_know_nothing_are_not_cured_by_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, good = make_run(tmp_path / "run", skill=0.0)
    labels = tmp_path / "labels.parquet"
    write_labels(labels, [Label(u.unit_id, bool(good[u.index])) for u in store.units()])
    assert calibrate_run(store.root, labels, None, None, precision=0.99, confidence=0.95) == 1
    assert "other scorers, experts or a lower precision may" in " ".join(capsys.readouterr().out.split())


def test_few_labels_are_never_the_last_word() -> None:
    """34 labels show no strict thresholds at all, so that the loose ones fail says nothing of those."""
    frame, good = pool(2000, skill=3.0)
    values = Sides(RULES).values(frame)
    searching = np.arange(34) % 5 < 2
    bad = np.flatnonzero(~good)[:24]
    few = np.concatenate([bad, np.flatnonzero(good)[:10]])
    few = few[np.random.default_rng(0).permutation(34)]
    found = find_thresholds(values[few], good[few], searching, values, precision=0.9, confidence=0.9)
    assert found.thresholds is None and found.more_labels is not None and found.more_labels > 100


def test_no_number_of_labels_is_named_only_where_every_interval_ends_below() -> None:
    rng = np.random.default_rng(2)
    values, good = rng.normal(size=(1000, 2)), rng.random(1000) < 0.5
    searching = np.arange(1000) % 5 < 2
    assert find_thresholds(values, good, searching, values, precision=0.9, confidence=0.95).more_labels is None
    better = good | ~searching & (rng.random(1000) < 0.7)  # on the testing part 85 % are good: near enough for 0.86
    found = find_thresholds(values, better, searching, values, precision=0.86, confidence=0.95)
    assert found.thresholds is None and found.more_labels is not None
    assert interval(found.tested.good, found.tested.n, 0.95)[1] > 0.86


def test_rules_that_keep_nearly_all_or_are_dropped_are_said(
        labelled: tuple[RunStore, np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, _ = labelled
    assert calibrate_run(store.root, None, None, tmp_path / "loose.yaml", precision=0.4, confidence=0.95) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "note: 3 rules of 3 left out (a, b, c): a precision of 0.4 is reached without" in said
    assert "they keep nearly everything" in said and "testing part: the 60% of the labels" in said
    assert calibrate_run(store.root, None, None, tmp_path / "strict.yaml", precision=0.9, confidence=0.95) == 0
    assert "nearly everything" not in capsys.readouterr().out


def test_after_a_cascade_thresholds_are_only_tightened(tmp_path: Path) -> None:
    frame, good = pool(600, skill=3.0)
    units = [replace(u, layout="preserved", subject="", side="train") for u in make_units(600)]
    store = RunStore.create(tmp_path / "run", {"config": {}}, units, 200)
    strict = (RuleConfig(column="a", min=0.123456789), RuleConfig(column="b", max=5.0))
    for block in store.blocks():
        store.commit_candidates(make_work(block))
        store.commit_scores("s", "1", block, {u.unit_id: {"a": float(frame["a"][u.index])} for u in block.units})
        store.commit_scores("dear", "1", block, {u.unit_id: {"b": float(frame["b"][u.index])} for u in block.units
                                                 if frame["a"][u.index] >= 0.2})
    seal(store, rules=strict, scorers=[("s", "1"), ("dear", "1")])
    labels, out = tmp_path / "labels.parquet", tmp_path / "new.yaml"
    write_labels(labels, [Label(u.unit_id, bool(good[u.index])) for u in units])
    with pytest.raises(ConfigError, match="pass the sealed rules as far as they are scored"):
        calibrate_run(store.root, labels, None, out, precision=0.8, confidence=0.9)  # a from 0.123 to 0.2 was skipped
    strict = (RuleConfig(column="a", min=0.25), strict[1])
    seal(store, rules=strict, scorers=[("s", "1"), ("dear", "1")])
    assert calibrate_run(store.root, labels, None, out, precision=0.6, confidence=0.9) == 0
    rules = [RuleConfig.model_validate(rule) for rule in yaml.safe_load(out.read_text())["rules"]]
    assert {rule.column: rule.min for rule in rules}["a"] >= 0.25
    assert seal(store, rules=rules, scorers=[("s", "1"), ("dear", "1")]).pending == 0


def test_what_cannot_be_calibrated_is_refused(labelled: tuple[RunStore, np.ndarray], tmp_path: Path) -> None:
    store, _ = labelled
    strange = tmp_path / "strange.parquet"
    write_labels(strange, [Label("elsewhere", True)])
    with pytest.raises(ConfigError, match="none of the labels"):
        calibrate_run(store.root, strange, None, None, precision=0.95, confidence=0.95)
    with pytest.raises(ConfigError, match="lie between 0 and 1"):
        calibrate_run(store.root, None, None, None, precision=95, confidence=0.95)
    file = tmp_path / "rules.yaml"
    file.write_text("rules: []\n")
    with pytest.raises(ConfigError, match="no rules whose thresholds"):
        calibrate_run(store.root, None, file, None, precision=0.95, confidence=0.95)
    file.write_text("rules: [{column: z, min: 0}]\n")
    with pytest.raises(ConfigError, match="no scorer of this run gives 'z'"):
        calibrate_run(store.root, None, file, None, precision=0.95, confidence=0.95)
