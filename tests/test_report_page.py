"""What goes into the report: packed scores, choice of triplets, remarks, score matrix, what two runs differ in."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from curate.cli import app
from curate.report import collect
from curate.report.page import columns as packing
from curate.report.page import gallery, write_comparison, write_report
from curate.report.page.columns import pack
from curate.report.page.differences import config_differences
from curate.report.page.html import _json, _markdown, telling
from curate.report.page.matrix import score_matrix
from curate.report.page.notes import notes
from curate.report.page.rules import columns_by_scorer, good_direction, rules_of
from curate.report.page.shifts import flipped, score_shifts, transitions, yield_shifts
from curate.report.page.sources import source_yields
from curate.report.units import UnitTable, read_units
from curate.seal import RuleConfig, seal
from curate.seal.card import Origin, data_card
from curate.store import RunStore
from tests import runs
from tests.drawn_run import SCORERS, csd_of, make_run, make_unit, seal_run

COLUMN = "csd.style.style_stylized"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> RunStore:
    """40 units, 36 committed: indices 9, 19, 29 failed; 1, 6, 11, ... break rule one; 2, 12, 22, 32 rule two."""
    found = make_run(tmp_path_factory.mktemp("runs") / "forty", num_done=36)
    seal_run(found)
    return found


@pytest.fixture(scope="module")
def units(store: RunStore) -> UnitTable:
    return read_units(store.root)


def packed(units: UnitTable, store: RunStore, chosen: tuple[int, ...] = ()) -> dict[str, Any]:
    return pack(units, store, rules_of(units, store), chosen)


def floats(data: dict[str, Any], name: str) -> np.ndarray:
    [text] = [column["data"] for column in data["columns"] if column["name"] == name]
    return np.frombuffer(base64.b64decode(text), "<f4")


def bytes_of(text: str) -> list[int]:
    return list(base64.b64decode(text))


def test_scores_are_packed_bit_for_bit_and_hashes_are_not(units: UnitTable, store: RunStore) -> None:
    data = packed(units, store, chosen=(7, 2))
    told = [np.float32(csd_of(make_unit(i))[COLUMN]) for i in (*range(36), 7, 2) if i % 10 != 9]
    values = floats(data, COLUMN)
    assert values[~np.isnan(values)].tolist() == [float(value) for value in told]
    assert "phash.bits" not in {column["name"] for column in data["columns"]}
    assert (data["planned"], data["sampled"], data["rows"]) == (40, 40, 42)


def test_units_that_no_rule_judges_are_told(units: UnitTable, store: RunStore) -> None:
    fixed = bytes_of(packed(units, store)["fixed"])
    assert [i for i in range(40) if fixed[i] == 1] == [9, 19, 29]
    assert [i for i in range(40) if fixed[i] == 2] == [36, 37, 38, 39]


def test_a_large_run_is_sampled_to_the_room_there_is(units: UnitTable, store: RunStore,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "MAX_SCORE_BYTES", 6 * 4 * 10)
    data = packed(units, store, chosen=(3,))
    assert (data["sampled"], data["rows"]) == (10, 11)
    assert data == packed(units, store, chosen=(3,))
    assert floats(data, COLUMN)[-1] == np.float32(csd_of(make_unit(3))[COLUMN])


def test_a_scorer_that_was_spared_is_named(tmp_path: Path) -> None:
    store = make_run(tmp_path / "run", num_units=8)
    block = store.blocks()[0]
    store.commit_scores("dear", "f9", block, {unit.unit_id: {"vlm.x": 1.0} for unit in block.units if unit.index != 2})
    seal(store, rules=(RuleConfig(column=COLUMN, min=0.5),), scorers=(*SCORERS, ("dear", "f9")))
    units = read_units(store.root)
    assert columns_by_scorer(units, store)["dear"] == ["vlm.x"]
    data = packed(units, store)
    named = [data["scorers"][code - 1] if code else "" for code in bytes_of(data["unseen"])]
    assert named == ["", "", "dear", "", "dear", "dear", "dear", "dear"]


def test_gallery_takes_from_kept_rejected_and_near(units: UnitTable, store: RunStore) -> None:
    rules = rules_of(units, store)
    chosen = gallery.choose(units, rules, limit=9)
    statuses = units.frame["status"].iloc[chosen].value_counts()
    assert len(set(chosen)) == 9 and statuses["kept"] >= 3 and statuses["rejected"] >= 3
    distance = (units.frame[COLUMN] - 0.5).abs().fillna(9)
    assert int(distance.argmin()) in chosen
    assert chosen == gallery.choose(units, rules, limit=9)


def test_gallery_stops_where_its_room_ends(units: UnitTable, store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = gallery.choose(units, rules_of(units, store))
    whole = gallery.pictures(store, units, chosen)
    assert len(whole) == 33 and whole[0]["pictures"]["style"].startswith("data:image/webp;base64,")
    monkeypatch.setattr(gallery, "MAX_PICTURE_BYTES", 2000)
    assert gallery.pictures(store, units, chosen) == whole[:len(gallery.pictures(store, units, chosen))] != whole


def test_the_page_names_the_run_as_it_was_called(store: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                  ) -> None:
    monkeypatch.chdir(store.root.parent.parent)
    run = Path(store.root.parent.name, store.root.name)
    write_report(run, tmp_path / "page.html")
    assert f"curate seal {run} --rules rules.yaml" in (tmp_path / "page.html").read_text()


def test_remarks(units: UnitTable, store: RunStore) -> None:
    stats = collect(store.root, units)
    said = {note.text: note.level for note in notes(stats, rules_of(units, store))}
    assert said["3 units failed (stylize 3)."] == "bad"
    assert said["No triplet was kept of 1 style: fluent-emoji-high-contrast."] == "bad"
    assert said["4 units are pending: run the same command again to finish them."] == "watch"
    assert list(said.values()) == sorted(said.values(), key=("bad", "watch", "good").index)
    bare = stats | {"uncaptioned": {"planned": 30, "kept": 7}}
    text = "7 of 22 kept triplets have an empty caption: the text that a model is trained with."
    assert ("bad", text) in notes(bare, []) and not any("caption" in each for each in said)
    idle = {"column": "csd.x", "reason": "never", "min": 0.0, "max": None}
    assert any(note.text.startswith("1 of 1 rule rejected nothing") for note in notes(stats, [idle]))


def test_score_matrix(units: UnitTable, store: RunStore) -> None:
    rows = {row["name"]: row["cells"] for row in score_matrix(collect(store.root, units)["scores"])}
    assert [cell["good"] for cell in rows["csd.style"]] == ["low", "high", ""]
    assert [cell["good"] for cell in rows["csd.content"]] == ["high", "low", ""]
    assert rows["csd.style"][1]["kept"] > 0.5
    assert good_direction("colour.only") == ""


def test_yield_by_source(tmp_path: Path) -> None:
    store = runs.fill(tmp_path / "run", 10, folder="/data/one")
    runs.seal_small(store)
    rows = source_yields(read_units(store.root).frame, store)
    assert list(rows) == ["input: /data/one"] and rows["input: /data/one"]["planned"] == 10


def test_the_page_of_any_run_is_whole_and_repeats(store: RunStore, tmp_path: Path) -> None:
    make_run(tmp_path / "made", num_units=8, num_done=4)
    make_run(tmp_path / "empty", num_units=8, num_done=0)
    for run in (store.root, tmp_path / "made", tmp_path / "empty"):
        write_report(run, tmp_path / "a.html")
        write_report(run, tmp_path / "b.html")
        text = (tmp_path / "a.html").read_text()
        assert text == (tmp_path / "b.html").read_text()
        assert text.rstrip().endswith("</html>") and 'src="http' not in text and "<link rel=\"stylesheet" not in text


def test_a_page_of_twenty_thousand_styles_and_attributions_stays_small(tmp_path: Path) -> None:
    planned = [replace(make_unit(i), style=f"style number {i}") for i in range(20_000)]
    store = make_run(tmp_path / "run", units=planned, num_done=4)
    seal_run(store)
    card = store.paths.shards / "README.md"
    origins = [Origin("CC-BY-4.0", f"painter number {i}", f"{i}") for i in range(20_000)]
    card.write_text(data_card(json.loads((store.paths.shards / "dataset.json").read_text()), origins))
    write_report(store.root, tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text()
    assert "style number 0<" in text and text.count('<th scope="row">style number') == 500 and "other 19,500" in text
    assert text.count("painter number") == 500 and "19,500 more rows are in the README.md" in text
    library = (files("plotly") / "package_data" / "plotly.min.js").read_bytes()
    assert (tmp_path / "r.html").stat().st_size < len(library) + 2_500_000


def test_of_many_styles_the_lowest_and_the_largest_are_listed() -> None:
    rows = [(f"s{i}", {"yield": i / 2000, "planned": 10 + i * (i % 2)}) for i in range(2000)]
    listed = [name for name, _ in telling(rows)]
    assert listed[:250] == [f"s{i}" for i in range(250)] and len(listed) == 500
    assert set(listed[250:]) == {f"s{i}" for i in range(1501, 2000, 2)}
    assert telling(rows[:400]) == rows[:400]


def test_what_is_inside_cannot_break_out() -> None:
    assert "<" not in _json({"caption": "</script><script>alert(1)</script>"})
    assert "<script" not in _markdown("# A\n<script>alert(1)</script> ![x](https://example.org/x.png)")
    assert "<img" not in _markdown("![x](https://example.org/x.png)")


def test_config_differences_follow_rules_not_places() -> None:
    one = {"seed": 0, "rules": [{"column": "a", "min": 0.5}, {"column": "b", "max": 1.0, "layout": "shifted"}]}
    two = {"seed": 1, "rules": [{"column": "b", "max": 1.0, "layout": "shifted"}, {"column": "a", "min": 0.75}]}
    assert config_differences(one, two) == [("seed", "0", "1"), ("rule on a", ">= 0.5", ">= 0.75")]
    assert config_differences(one, one) == []


def test_what_moved_between_two_runs(store: RunStore, tmp_path: Path) -> None:
    other = make_run(tmp_path / "other", num_done=36)
    seal(other, rules=(RuleConfig(column=COLUMN, max=0.5),), scorers=SCORERS)
    one, two = read_units(store.root), read_units(other.root)
    moved = transitions(one, two)
    assert moved.to_numpy().sum() == 40 and moved.loc["failed", "failed"] == 3 and moved.loc["pending", "pending"] == 4
    assert moved.loc["kept", "kept"] == 0 and moved.loc["kept", "rejected"] == 22 and moved.loc["rejected", "kept"] == 7
    assert len(flipped(one, two)) == 29
    assert {shift["above"] for shift in score_shifts(one, two)} == {0.5}
    shares = [collect(run)["yield"]["style"] for run in (store.root, other.root)]
    shifted = {row.name: row.difference for row in yield_shifts(*shares)}
    assert list(shifted)[-1] == "risograph" and shifted["twemoji"] == -1.0
    assert shifted["fluent-emoji-high-contrast"] == 1.0
    write_comparison(store.root, other.root, tmp_path / "c.html")
    assert (tmp_path / "c.html").stat().st_size < 15e6


def test_scores_that_rise_are_above(units: UnitTable) -> None:
    raised = units.frame.assign(**{COLUMN: units.frame[COLUMN] + np.float32(2)})
    [first, *_] = score_shifts(units, UnitTable(frame=raised, scores=units.scores, ledger=units.ledger,
                                                dataset=units.dataset, errors=units.errors))
    assert first["name"] == COLUMN and first["above"] == 1.0 and sum(first["shares"][1]) == pytest.approx(1, abs=1e-3)


def test_command_says_where_the_page_is(store: RunStore, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["report", str(store.root)])
    assert done.output.strip() == str(store.root / "report" / "index.html")
    assert (store.root / "report" / "index.html").stat().st_size < 8e6
    make_run(tmp_path / "other", num_units=8)
    done = CliRunner().invoke(app, ["report", str(store.root), str(tmp_path / "other")])
    assert done.output.strip() == str(tmp_path / "other" / "report" / "beside-forty.html")
