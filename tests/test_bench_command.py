"""``curate bench`` from config to report: copies against truth on emoji-bench, failures, resuming, quoted numbers."""

from __future__ import annotations

import json
from importlib.metadata import version
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image

from curate.bench.command import run_bench
from curate.bench.config import load_bench_config
from curate.bench.grid import choose_items
from curate.bench.metrics import COMBINED, CombinedConfig
from curate.bench.quoted import quoted_numbers
from curate.bench.render import render_markdown
from curate.bench.summary import summarise
from curate.bench.systems import CopyStyle
from curate.errors import BudgetError, ConfigError, ModelError
from curate.models import commit_of, pinned
from pipelines.uso.official import add_lora, save_official
from tests.bench_parts import dreambench_folder, fill_cache, item, save_picture, uso_folder
from tests.tiny_uso import tiny_projector, tiny_transformer, tiny_uso

CONFIGS = Path(__file__).parents[1] / "configs" / "bench"
COPIES = [{"name": "copy-content", "kind": "copy_content"}, {"name": "copy-style", "kind": "copy_style"}]
METRICS = [{"kind": "clip"}, {"kind": "csd"}]


def write_config(folder: Path, **values: Any) -> Path:
    given = {"output": str(folder / "out"), "device": "cpu", "systems": COPIES, "metrics": METRICS, "resamples": 200}
    path = folder / "bench.yaml"
    path.write_text(yaml.safe_dump(given | values))
    return path


def read(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "out" / "bench.json").read_text())
    return found


@pytest.fixture(scope="module")
def emoji(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """emoji-bench of toy emoji, once for all that look at its report."""
    folder = tmp_path_factory.mktemp("emoji")
    fill_cache(folder / "cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRIPLET_CACHE", str(folder / "cache"))
        config = write_config(
            folder, bench={"kind": "emoji", "subjects": 5, "parametric": 3, "sets": 1},
            systems=[*COPIES, {"name": "truth", "kind": "truth"}],
            metrics=[*METRICS, {"kind": "copy_paste"}, {"kind": "colour"}, {"kind": "truth"}])
        assert run_bench(config) == 0
        before = {path: path.stat().st_mtime_ns for path in (folder / "out").rglob("*.png") if path.name != "grid.png"}
        assert run_bench(config) == 0
    assert before == {path: path.stat().st_mtime_ns for path in before}, "the second run made an image again"
    return folder


def test_copies_have_one_half_each_and_the_truth_has_both(emoji: Path) -> None:
    measured = read(emoji)["measured"]
    content, style, truth = (measured[name]["combined"]["figures"] for name in ("copy-content", "copy-style", "truth"))
    assert content["clip_i"]["value"] == pytest.approx(1.0, abs=1e-3) and style["clip_i"]["value"] < 0.9
    assert style["csd"]["value"] == pytest.approx(1.0, abs=1e-3) and content["csd"]["value"] < 0.9
    assert content["subject_top1"]["value"] == 1.0 and content["style_nearer"]["value"] == 0.0
    assert style["style_nearer"]["value"] == 1.0 and truth["l1"]["value"] == 0.0
    assert truth["combined"]["value"] > max(content["combined"]["value"], style["combined"]["value"])
    assert all(each["low"] <= each["value"] <= each["high"] for each in content.values())
    assert content["clip_i"]["subjects"] == 5 and content["clip_i"]["images"] == 20


def test_differences_are_paired_and_judged(emoji: Path) -> None:
    found = {(each["task"], each["column"], each["system"], each["baseline"]): each
             for each in read(emoji)["differences"]}
    names = ("copy-content", "copy-style", "truth")
    assert {key[2:][::-1] for key in found if key[:2] == ("combined", COMBINED)} == set(combinations(names, 2))
    best = found["combined", COMBINED, "truth", "copy-content"]
    assert best["verdict"] == "better" and best["low"] > 0
    assert found["combined", "l1", "truth", "copy-content"]["verdict"] == "better", "low is good"
    assert found["combined", "csd", "truth", "copy-style"]["verdict"] == "worse"
    assert not {"copy_paste", "colour_only"} & {column for _, column, _, _ in found}, "neither end is good"
    assert not [key for key in found if key[0] == "subject"], "only one system does these"


def test_what_is_compared_is_the_same_items(emoji: Path) -> None:
    """The truth is known of some items only: its row is of those, and so is what is said of it and another system."""
    rows = pd.read_json(emoji / "out" / "scores.jsonl", lines=True).query("task == 'combined'")
    truth, copies = (rows[rows["system"] == name].set_index("id") for name in ("truth", "copy-content"))
    known = truth.index[truth["status"] == "made"]
    assert 0 < len(known) < len(truth)
    [found] = [each for each in read(emoji)["differences"] if each["task"] == "combined" and each["column"] == "csd"
               and (each["system"], each["baseline"]) == ("truth", "copy-content")]
    assert found["images"] == len(known)
    assert found["value"] == pytest.approx((truth["csd"][known] - copies["csd"][known]).mean(), abs=1e-4)
    assert found["value"] != pytest.approx(truth["csd"].mean() - copies["csd"].mean(), abs=1e-3)
    text = (emoji / "out" / "bench.md").read_text()
    [row] = [line for line in text.splitlines() if line.startswith("| truth | ") and " of 20" in line]
    assert f"| {len(known)} of 20, {20 - len(known)} skipped |" in row and f"({len(known)}) |" in row


def test_the_reports_agree_and_show_what_was_skipped(emoji: Path) -> None:
    text = (emoji / "out" / "bench.md").read_text()
    for task in ("subject", "style", "combined"):
        assert f"## Measured: {task}" in text
    assert "CSD ↑" in text and "L1 ↓" in text and "a style item has no content image" in text
    assert "Quoted" not in text and read(emoji)["quoted"] is None
    assert read(emoji)["measured"]["copy-content"]["style"]["skipped"] == 20
    rows = [json.loads(line) for line in (emoji / "out" / "scores.jsonl").read_text().splitlines()]
    asked = sum(tasks[task][status] for tasks in [read(emoji)["measured"]["truth"]] for task in tasks
                for status in ("made", "failed", "skipped"))
    assert len(rows) == 3 * asked
    with Image.open(emoji / "out" / "grid.png") as grid:
        assert grid.width > 5 * 128 and grid.height > 12 * 128


@pytest.fixture
def uso(tmp_path: Path) -> Path:
    """A small USO-Bench folder; another system made all combined images but one."""
    root = uso_folder(tmp_path / "uso", prompts={"subject": [], "style": [], "combined": ["a {subject}"]})
    for at, name in enumerate(["man-1_ink", "man-1_oil", "red-cup_ink"]):
        save_picture(tmp_path / "theirs" / "combined" / f"{name}_p00_s0.png", 60 + at)
    return root


def test_a_missing_image_is_counted_shown_and_costs_its_score(tmp_path: Path, uso: Path) -> None:
    theirs = {"name": "theirs", "kind": "folder", "root": str(tmp_path / "theirs")}
    config = write_config(tmp_path, bench={"kind": "uso_bench", "root": str(uso)}, systems=[*COPIES, theirs])
    with pytest.raises(BudgetError, match=r"1 of 12 images failed \(theirs 1\)"):
        run_bench(config)
    row = read(tmp_path)["measured"]["theirs"]["combined"]
    assert (row["made"], row["failed"]) == (3, 1)
    assert row["figures"]["csd"]["images"] == 3 and row["figures"][COMBINED]["images"] == 4
    rows = [json.loads(line) for line in (tmp_path / "out" / "scores.jsonl").read_text().splitlines()]
    [failed] = [each for each in rows if each["status"] == "failed"]
    assert failed[COMBINED] == 0.0 and failed["csd"] is None and "red-cup_oil_p00_s0.png" in failed["reason"]
    text = (tmp_path / "out" / "bench.md").read_text()
    assert "3 of 4, 1 failed" in text and "red-cup_oil_p00_s0.png" in text
    [line] = [line for line in text.splitlines() if line.startswith("| theirs | 3 of 4")]
    assert line.count("(3)") == 3 and "(4)" not in line, "CLIP-I, CLIP-T and CSD are of 3 images, combined of 4"
    assert run_bench(config, ("max_failed_fraction=0.1",)) == 0


def test_quoted_numbers_never_stand_among_measured_ones(tmp_path: Path, uso: Path) -> None:
    assert run_bench(write_config(tmp_path, bench={"kind": "uso_bench", "root": str(uso)})) == 0
    found = read(tmp_path)
    assert set(found["measured"]) == {"copy-content", "copy-style"}
    assert "not measured here" in found["quoted"]["note"]
    names = {number["system"] for number in found["quoted"]["numbers"]}
    assert "USO v1" in names and not names & set(found["measured"])
    without = json.dumps({key: value for key, value in found.items() if key != "quoted"})
    assert not any(name in without for name in names)
    measured, _, quoted = (tmp_path / "out" / "bench.md").read_text().partition("## Quoted")
    assert "USO v1" not in measured and "| USO v1 (quoted) | 0.495 |" in quoted and "arXiv 2508.18966v1" in quoted


def test_dreambench_has_no_combined_score_and_its_own_quoted_table(tmp_path: Path) -> None:
    bench = {"kind": "dreambench", "root": str(dreambench_folder(tmp_path / "dataset")), "images_per_prompt": 1}
    bench |= {"photograph": 0}
    assert run_bench(write_config(tmp_path, bench=bench, metrics=[{"kind": "clip"}], combined=None)) == 0
    found = read(tmp_path)
    figures = found["measured"]["copy-content"]["subject"]["figures"]
    assert set(figures) == {"clip_i", "clip_t"} and figures["clip_i"]["subjects"] == 2 and found["differences"] == []
    assert found["measured"]["copy-style"]["subject"]["skipped"] == 3
    assert {number["system"] for number in found["quoted"]["numbers"]} == {"USO", "UNO", "OmniGen", "DreamBooth"}


def test_quoted_numbers_are_those_of_the_papers() -> None:
    uso = {(number.system, number.task, number.metric): number.value for number in quoted_numbers("uso_bench")}
    assert uso["USO v1", "subject", "dino"] == 0.793 and uso["USO CVPR", "combined", "csd"] == 0.492
    assert uso["CSGO", "style", "csd"] == 0.452 and ("CSGO", "subject", "dino") not in uso
    assert uso["USO v1 without style reward", "combined", "csd"] == 0.413
    dream = {(number.system, number.metric): number.value for number in quoted_numbers("dreambench")}
    assert dream["UNO", "dino"] == 0.760 and dream["UNO", "clip_i"] == 0.835 and len(dream) == 12


def test_ctrl_c_keeps_what_was_made_and_says_how_to_go_on(
        tmp_path: Path, uso: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    config = write_config(tmp_path, bench={"kind": "uso_bench", "root": str(uso)})
    with monkeypatch.context() as patch:
        patch.setattr(CopyStyle, "load", interrupt)  # after copy-content is through
        assert run_bench(config) == 130
    assert "Run the same command again" in capsys.readouterr().err and not (tmp_path / "out" / "bench.json").exists()
    assert len(list((tmp_path / "out" / "copy-content").rglob("*.png"))) == 4
    assert run_bench(config) == 0
    assert "copy-content: 0 images to be made" in capsys.readouterr().err


def test_a_uso_checkpoint_and_released_files_on_it_are_benched_side_by_side(tmp_path: Path, uso: Path) -> None:
    base = tmp_path / "base"
    tiny_uso().save_pretrained(base)
    transformer, projector = tiny_transformer(), tiny_projector()
    add_lora(transformer, rank=2)
    with torch.no_grad():
        for name, parameter in transformer.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.3)
    save_official(tmp_path / "released", transformer=transformer, projector=projector)
    checkpoint = {"model": str(base), "steps": 2}
    released = {**checkpoint, "uso": {"model": str(tmp_path / "released")}}
    systems = [{"name": "checkpoint", "kind": "pipeline", "expert": checkpoint},
               {"name": "released", "kind": "pipeline", "expert": released}]
    bench = {"kind": "uso_bench", "root": str(uso)}
    metrics = [{"kind": "copy_paste"}, {"kind": "colour"}]
    assert run_bench(write_config(tmp_path, bench=bench, systems=systems, metrics=metrics, combined=None)) == 0
    rows = [read(tmp_path)["measured"][name]["combined"] for name in ("checkpoint", "released")]
    assert [(row["made"], row["failed"]) for row in rows] == [(4, 0)] * 2
    assert rows[0]["figures"] != rows[1]["figures"]
    text = (tmp_path / "out" / "bench.md").read_text()
    assert "| checkpoint | 4 |" in text and "| released | 4 |" in text
    made = [[path.read_bytes() for path in sorted((tmp_path / "out" / name).rglob("*.png"))] for name in
            ("checkpoint", "released")]
    assert len(set(made[0])) == 4, "content or style does not reach the checkpoint"
    assert not set(made[0]) & set(made[1])


def test_a_metric_that_cannot_be_loaded_stops_the_bench_before_it_draws(tmp_path: Path, uso: Path) -> None:
    tiny_uso().save_pretrained(tmp_path / "base")
    (tmp_path / "csd").mkdir()
    system = {"name": "drawn", "kind": "pipeline", "expert": {"model": str(tmp_path / "base"), "steps": 2}}
    config = write_config(tmp_path, bench={"kind": "uso_bench", "root": str(uso)}, systems=[*COPIES, system],
                          metrics=[{"kind": "clip"}, {"kind": "csd", "model": str(tmp_path / "csd")}])
    with pytest.raises(ModelError, match="csd"):
        run_bench(config)
    assert not (tmp_path / "out").exists()


def test_a_dry_run_finds_a_model_that_is_nowhere(
        tmp_path: Path, uso: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = [{"kind": "clip"}, {"kind": "csd", "model": "nowhere/csd.pth/at/all"}]
    config = write_config(tmp_path, bench={"kind": "uso_bench", "root": str(uso)}, metrics=metrics)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="neither in the cache nor to be had from the hub"):
        run_bench(config, dry_run=True)


def test_hub_ids_are_pinned_to_commits_and_versions_are_written_down(
        tmp_path: Path, uso: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A branch may move between two runs: what was drawn by the old commit is then drawn again."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    refs = tmp_path / "hub" / "models--owner--name" / "refs" / "main"
    refs.parent.mkdir(parents=True)
    system = {"name": "drawn", "kind": "pipeline", "expert": {"model": "owner/name"}}
    config, _ = load_bench_config(write_config(tmp_path, bench={"kind": "uso_bench", "root": str(uso)},
                                               systems=[system]))
    prints = []
    for commit in ("0" * 40, "1" * 40):
        refs.write_text(commit)
        commit_of.cache_clear()
        [drawn] = pinned(config).systems
        assert drawn.kind == "pipeline" and drawn.expert.revision == commit
        prints.append(drawn.fingerprint(item(1)))
    assert prints[0] != prints[1]
    assert run_bench(write_config(tmp_path, bench={"kind": "uso_bench", "root": str(uso)})) == 0
    assert read(tmp_path)["versions"]["torch"] == version("torch")


def test_a_dry_run_makes_nothing(tmp_path: Path, uso: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_bench(write_config(tmp_path, bench={"kind": "uso_bench", "root": str(uso)}), dry_run=True) == 0
    assert "4 items (combined 4), 2 subjects" in capsys.readouterr().err and not (tmp_path / "out").exists()


@pytest.mark.parametrize(("changed", "says"), [
    ({"metrics": [{"kind": "clip"}]}, "no metric here gives 'csd'"),
    ({"metrics": [{"kind": "clip"}, {"kind": "clip"}]}, "'clip_i' is there twice"),
    ({"systems": [COPIES[0], COPIES[0]]}, "'copy-content' is there twice"),
    ({"combined": {"subject": "clip_i", "style": "combined"}}, "no metric here gives 'combined'"),
    ({"metrics": [*METRICS, {"kind": "cas"}], "combined": {"subject": "cas"}}, "high 'cas' is not good"),
    ({"metrics": [*METRICS, {"kind": "copy_paste"}], "combined": {"subject": "copy_paste"}}, "is not good"),
    ({"baselines": ["untrained"]}, "no system is called 'untrained'"),
    ({"metrics": [*METRICS, {"kind": "truth"}]}, "only `bench: {kind: emoji}` has"),
    ({"systems": [{"name": "a/b", "kind": "copy_content"}]}, "systems.0.name"),
    ({"bench": {"kind": "uso_bench", "rooot": "x"}}, "did you mean 'root'"),
])
def test_a_wrong_config_is_refused_with_its_place(tmp_path: Path, changed: dict[str, Any], says: str) -> None:
    config = write_config(tmp_path, **({"bench": {"kind": "uso_bench", "root": str(tmp_path)}} | changed))
    with pytest.raises(ConfigError) as caught:
        load_bench_config(config)
    assert says in str(caught.value) and str(config) in str(caught.value)


def test_folders_that_cannot_serve_are_named_with_their_line(tmp_path: Path, uso: Path) -> None:
    theirs = {"name": "theirs", "kind": "folder", "root": str(tmp_path / "nowhere"), "pattern": "{content}.png"}
    bench = {"kind": "uso_bench", "root": str(uso)}
    with pytest.raises(ConfigError, match=r"bench.yaml:\d+: systems.0.root: no folder"):
        run_bench(write_config(tmp_path, bench=bench, systems=[theirs]))
    theirs["root"] = str(tmp_path / "theirs")
    with pytest.raises(ConfigError, match=r"bench.yaml:\d+: systems.0.pattern: .* leads to one file"):
        run_bench(write_config(tmp_path, bench=bench, systems=[theirs]))


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_shipped_configs_are_valid_and_open_with_command_cost_and_result(path: Path) -> None:
    config, _ = load_bench_config(path)
    assert config.columns
    lines = path.read_text().splitlines()
    assert lines[0] == f"# curate bench configs/bench/{path.name}"
    assert all(any(line.startswith(f"# {word}:") for line in lines[:8]) for word in ("What", "Cost", "Gives"))


def test_a_system_that_made_nothing_is_still_in_the_report() -> None:
    scores = pd.DataFrame({"system": ["a", "a", "b", "b"], "id": ["x", "y"] * 2, "task": "combined",
                           "subject": ["x", "y"] * 2, "style": ["p", "q"] * 2,
                           "status": ["made", "made", "failed", "failed"],
                           "reason": ["", "", "no file | here", "no file | here"],
                           "seconds": [0.1, 0.3, np.nan, np.nan],
                           COMBINED: np.array([0.5, 0.7, 0, 0], dtype=np.float32)})
    summary = summarise(scores, {COMBINED: CombinedConfig().column}, baselines=["a"], quoted=None, seed=0,
                        resamples=100)
    assert summary["measured"]["a"]["combined"]["seconds_per_image"] == 0.2
    assert summary["measured"]["b"]["combined"]["seconds_per_image"] is None
    assert summary["differences"][0]["verdict"] == "worse"
    text = render_markdown({"bench": "x", **summary})
    assert "| b | 0 of 2, 2 failed | 0.000 [0.000, 0.000] |" in text
    assert "| b | a | -0.600 [-0.700, -0.500] worse |" in text and "no file \\| here | 2 |" in text


def test_the_grid_shares_its_rows_among_tasks_and_subjects() -> None:
    items = [item(number, task) for task in ("combined", "subject") for number in range(6) for _ in range(3)]
    chosen = choose_items(items, 8)
    assert [each.task for each in chosen] == ["subject"] * 4 + ["combined"] * 4
    assert len({each.subject for each in chosen if each.task == "subject"}) == 4
    assert len(choose_items(items, 500)) == len(items)
