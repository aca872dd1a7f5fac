"""`curate explain` and `curate diff` on a run of the zoo's real models."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import huggingface_hub
import pytest
from typer.testing import CliRunner

from curate.cli import app
from curate.errors import ConfigError, StoreError
from curate.models import ZOO, commit_of
from curate.run.command import seal_run
from curate.run.config import load_config
from curate.run.planning import make_plan, open_run, run_info
from curate.store import RunStore
from curate.trust.diff import differences
from curate.trust.evidence import find_unit, gather
from curate.trust.regenerate import Difference, Remaker, compare
from tests.drawn_run import make_run
from tests.drawn_run import seal_run as seal_drawn
from tests.runs import make_units, png
from tests.test_expert_loading import COMMIT, LATER, hub_cache
from tests.test_run import run, small_config


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("explained")
    assert run(small_config(folder, scorers={"phash": {"kind": "phash"}, "copy_paste": {"kind": "copy_paste"}},
                            rules=[{"column": "copy_paste.alignment", "max": 0.6, "layout": "shifted"}])) == 0
    return folder / "run"


def asked(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["explain", *arguments], env={"COLUMNS": "200"})
    return result.exit_code, result.output


def test_everything_about_a_unit_is_said_and_it_comes_out_the_same(made: Path) -> None:
    store = RunStore.open(made)
    unit = store.units()[5]  # not the first of its block: its place counts
    code, said = asked(str(made), unit.unit_id[:8], "--regenerate")
    assert code == 0 and said.count("the same bytes") == 3 and "another one now" not in said
    for item in unit.inputs.values():
        assert item.sha256 in said and item.licence in said and item.attribution[:20] in said
    row = store.ledger().loc[unit.unit_id]
    assert row["content_sha256"] in said and row["style_sha256"] in said
    assert "zoo:restyle" in said and "model_hash" in said and unit.caption in said
    assert "number 5 of the plan, block 1 (4 units)" in said
    margin = gather(store, unit.unit_id).rules[0]
    wanted = "does not concern this layout" if unit.layout == "preserved" else f"by {abs(margin.margin):.4f}"
    assert wanted in said and "verdict" in said


def test_changed_images_are_seen_when_made_again(made: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(made, tmp_path / "run"))
    store = RunStore.open(copy)
    shifted = next(unit.unit_id for unit in store.units() if unit.layout == "shifted")
    store.update_info({**store.info, "config": {**store.info["config"], "seed": 5}})  # draws another shift
    code, said = asked(str(copy), shifted, "--regenerate")
    assert code == 1 and "other bytes" in said and "possible causes" in said and "another one now" not in said
    values = RunStore.open(made).info["config"]
    values["experts"]["stylize"]["arguments"] = {"task": "destylize"}
    store.update_info({**store.info, "config": values})
    said = asked(str(copy), "0", "--regenerate")[1]
    assert "the stylize expert is another one now (zoo:restyle; arguments: " in said
    assert '{"task": "stylize"} -> {"task": "destylize"}' in " ".join(said.split())
    assert "destylize expert is another" not in said


def test_an_expert_is_another_one_by_what_it_draws_not_by_its_name_or_licence(made: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(made, tmp_path / "run"))
    store = RunStore.open(copy)
    moved = Path(shutil.copytree(ZOO / "restyle", tmp_path / "restyle"))
    experts = store.info["config"]["experts"]
    experts["stylize"]["licence"] = "MIT"
    experts["destylize"]["model"] = str(moved)
    store.update_info({**store.info, "config": {**store.info["config"], "experts": experts}})
    code, said = asked(str(copy), "0", "--regenerate")
    assert code == 0 and "another one now" not in said


def test_a_source_that_changed_is_said(made: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(made, tmp_path / "run"))
    store = RunStore.open(copy)
    evidence = gather(store, "1")
    gone = {"kind": "folder", "path": str(tmp_path)}
    config = evidence.config.model_validate_json(json.dumps({**store.info["config"], "sources": {
        "input": gone, "subjects": gone}}))
    remaker = Remaker(store, config)
    with pytest.raises(StoreError, match="cannot be made again: input: "):
        remaker.remake(evidence)
    remaker.close()


def test_models_of_the_hub_are_named_with_their_commits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    hub_cache(tmp_path, "someone/restyle", COMMIT)
    shutil.copytree(ZOO / "restyle", tmp_path / "models--someone--restyle" / "snapshots" / COMMIT)
    hub_cache(tmp_path, "facebook/dino-vits16", LATER)
    commit_of.cache_clear()
    path = small_config(tmp_path, scorers={"copy_paste": {"kind": "copy_paste"}}, limit=2,
                        rules=[{"column": "copy_paste.alignment", "max": 0.6, "layout": "shifted"}])
    models = ("experts.stylize.model=someone/restyle", "experts.destylize.model=someone/restyle")
    assert run(path, *models) == 0
    plan = make_plan(load_config(path, (*models, "scorers.dino={kind: dino}")))
    open_run(plan, run_info(plan.config))  # as a run that has yet to score
    commit_of.cache_clear()
    code, said = asked(str(tmp_path / "run"), "0")
    said = " ".join(said.split())
    assert code == 0 and said.count(f"model someone/restyle @ {COMMIT} ") == 2
    assert f"scored: dino no numbers not asked model facebook/dino-vits16 @ {LATER} " in said


def test_failed_and_unfinished_units_are_explained(tmp_path: Path, made: Path) -> None:
    store = make_run(tmp_path / "run", num_done=20)
    store.update_info({**RunStore.open(made).info, "scorers": {}})
    assert "failed at stylize: the model returned no image" in asked(str(store.root), "9")[1]
    assert "not yet; begun and not finished 0 times" in asked(str(store.root), "30")[1]
    assert "nothing is sealed yet" in asked(str(store.root), "0")[1]


def test_ids_are_found_by_beginning_or_number(made: Path) -> None:
    store = RunStore.open(made)
    unit = store.units()[3]
    assert find_unit(store, "3") == find_unit(store, unit.unit_id) == find_unit(store, unit.unit_id[:6]) == unit
    with pytest.raises(ConfigError, match="no unit of the plan"):
        find_unit(store, "zzzz")
    with pytest.raises(ConfigError, match="nor an input file with this in its name"):
        find_unit(store, "holiday")
    with pytest.raises(ConfigError, match="at least 4 digits"):
        find_unit(store, "ab")


def test_units_are_found_by_a_part_of_the_name_of_a_file(tmp_path: Path) -> None:
    store = RunStore.create(tmp_path / "run", {}, make_units(20), 4)
    units = store.units()
    assert find_unit(store, "target 3") == find_unit(store, "ARGET 3") == units[3]
    assert find_unit(store, "plain 1") == units[1]  # a whole name goes before parts of others
    with pytest.raises(ConfigError, match=rf"'lain 1': 11 units .*\n  {units[1].unit_id}  subject /data/pl"):
        find_unit(store, "lain 1")


def test_pixels_are_compared_where_bytes_differ() -> None:
    assert compare("style", png("a"), png("a")).same_bytes
    apart = compare("style", png("a"), png("b"))
    assert not apart.same_bytes and 60 < apart.mean < 110 and apart.largest > 200
    assert compare("style", png("a"), png("a", px=8)).mean == float("inf")


def test_on_a_gpu_nearly_the_same_pixels_will_do_and_on_a_cpu_the_bytes_count(made: Path) -> None:
    store = RunStore.open(made)
    config = gather(store, "0").config
    shared = config.model_validate_json(json.dumps(store.info["config"] | {"experts": {
        verb: expert | {"resources": {"gpus": 0.5}} for verb, expert in store.info["config"]["experts"].items()}}))
    close, far = (Difference("style", False, mean, 40.0) for mean in (1.9, 2.1))
    same, resized = compare("style", png("a"), png("a")), compare("style", png("a"), png("a", px=8))
    for remaker, passing in ((Remaker(store, shared), (same, close)), (Remaker(store, config), (same,))):
        assert tuple(one for one in (same, close, far, resized) if remaker.passes([same, one])) == passing


def test_diff_names_rules_verdicts_and_nothing_else(made: Path, tmp_path: Path) -> None:
    assert list(differences(made, made)) == []
    copy = Path(shutil.copytree(made, tmp_path / "run"))
    seal_run(copy, None, ("rules.0.max=0.5", "rules.0.layout=null", "rules.0.reason=a copy"))
    lines = list(differences(made, copy))
    assert "config: rule on copy_paste.alignment [shifted]: <= 0.6 -> (none)" in lines
    assert "config: rule on copy_paste.alignment: (none) -> <= 0.5 (a copy)" in lines
    assert all(line.startswith(("config: rule on", "verdicts: ")) for line in lines)
    assert any("kept" in line and "rejected" in line for line in lines)
    result = CliRunner().invoke(app, ["diff", str(made), str(copy)])
    assert result.exit_code == 1 and result.output.splitlines() == lines
    assert CliRunner().invoke(app, ["diff", str(made), str(made)]).output == "no differences\n"


def test_diff_of_runs_of_other_units_and_of_copies(made: Path, tmp_path: Path) -> None:
    store = make_run(tmp_path / "drawn")
    seal_drawn(store)
    lines = list(differences(made / "shards", store.paths.shards))
    assert any(line.startswith("units: 12 only in the first") for line in lines)
    assert any(line.startswith("scores: copy_paste.alignment only in the first") for line in lines)
    copy = Path(shutil.copytree(store.paths.shards, tmp_path / "copy"))
    assert list(differences(copy, store.paths.shards)) == []
