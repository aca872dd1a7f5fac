"""`curate run` end to end on the zoo's real models: accounts, resume, changed rules, changed scorers, bad images."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path

import pandas as pd
import pytest
import yaml
from PIL import Image

from curate.errors import BudgetError, ConfigError
from curate.run.command import run_config, seal_run
from curate.seal import verify
from curate.sources import EmojiSource
from curate.store import RunStore

QUICKSTART = Path(__file__).parents[1] / "configs" / "quickstart.yaml"


def small_config(folder: Path, **changes: object) -> Path:
    """The quick start with few units, one model to score, and the in-process engine."""
    values = yaml.safe_load(QUICKSTART.read_text())
    values |= {"output": str(folder / "run"), "block": 4, "engine": {"kind": "local"}, "cascade": [],
               "scorers": {"phash": {"kind": "phash"}, "csd": {"kind": "csd", "model": "zoo:csd"}},
               "rules": [{"column": "csd.style.style_stylized", "min": -1.0}], "near_duplicates": None}
    values["sources"]["input"]["count"] = 6
    values["sources"]["subjects"]["count"] = 60
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(values | changes))
    return path


def run(config: Path, *overrides: str) -> int:
    return run_config(config, overrides, dry_run=False, retry_failed=False)


def index(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / "run" / "shards" / "index.parquet").set_index("unit_id")


def hashes(folder: Path) -> dict[str, str]:
    return {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in (folder / "run" / "shards").iterdir()}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    assert run(small_config(folder)) == 0
    return folder


def test_a_run_accounts_for_every_unit_and_verifies(finished: Path) -> None:
    units = index(finished)
    assert len(units) == 12 and set(units["status"]) == {"kept"}
    assert verify(finished / "run", deep=True) == []
    assert set(units["layout"]) == {"preserved", "shifted"}


def test_run_again_makes_nothing_and_changes_no_byte(finished: Path) -> None:
    before, segments = hashes(finished), sorted((finished / "run" / "candidates").iterdir())
    stamps = [f.stat().st_mtime_ns for f in segments]
    assert run(finished / "config.yaml") == 0
    assert hashes(finished) == before
    assert [f.stat().st_mtime_ns for f in sorted((finished / "run" / "candidates").iterdir())] == stamps


def test_another_folder_gives_the_same_bytes(finished: Path, tmp_path: Path) -> None:
    assert run(small_config(tmp_path)) == 0
    assert hashes(tmp_path) == hashes(finished)


def test_changed_rules_reseal_without_a_model_and_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(small_config(tmp_path))
    place = tmp_path / "run"
    assert capsys.readouterr().err.endswith(f"next: `curate report {place}` shows what was kept and why\n")
    first = hashes(tmp_path)
    score = index(tmp_path)["csd.style.style_stylized"]
    rules = tmp_path / "rules.yaml"
    rules.write_text(yaml.safe_dump({"rules": [{"column": "csd.style.style_stylized", "min": float(score.median()),
                                                "reason": "style not met"}]}))
    (place / "report").mkdir()
    (place / "report" / "index.html").write_text("")
    assert seal_run(place, rules, ()) == 0
    assert f"\n{place}/report/index.html shows the former seal: `curate report {place}`" in capsys.readouterr().err
    units = index(tmp_path)
    assert (units["status"] == "rejected").sum() == (score < score.median()).sum() > 0
    assert set(units.loc[units["status"] == "rejected", "reason"]) == {"style not met"}
    assert seal_run(tmp_path / "run", tmp_path / "config.yaml", ()) == 0
    assert hashes(tmp_path) == first


def test_a_new_scorer_scores_old_candidates_and_a_new_expert_plans_new_units(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = small_config(tmp_path)
    run(config)
    before = set(index(tmp_path).index)
    run(config, "scorers.colour.kind=colour")
    assert "colour.only" in index(tmp_path) and set(index(tmp_path).index) == before
    assert "another plan" not in capsys.readouterr().err
    run(config, "seed=1")
    assert not set(index(tmp_path).index) & before
    assert "held another plan" in capsys.readouterr().err
    run(config)
    assert set(index(tmp_path).index) == before


def test_bad_images_are_failed_rows_with_a_reason_and_the_rest_is_kept(tmp_path: Path) -> None:
    source = EmojiSource(styles=("picnic", "dusk"), count=6, size=64)
    images = tmp_path / "images"
    images.mkdir()
    for i, item in enumerate(source.scan().items):
        (images / f"{i}.png").write_bytes(source.read(item.locator))
        (images / f"{i}.txt").write_text(item.caption)
    (images / "empty.png").write_bytes(b"")
    (images / "text.jpg").write_text("not an image")
    good = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(good, "JPEG")
    (images / "cut.jpg").write_bytes(good.getvalue()[:200])
    values = yaml.safe_load(small_config(tmp_path).read_text())
    values["sources"]["input"] = {"kind": "folder", "path": str(images), "sidecar": "txt"}
    values["recipe"] |= {"per_target": 1, "match_set": False}
    values["val_fraction"] = 0.0
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(values))
    with pytest.raises(BudgetError, match="3 of 9 units failed"):
        run(config)
    units = index(tmp_path)
    assert dict(units["status"].value_counts()) == {"kept": 6, "failed": 3}
    reasons = sorted(units.loc[units["status"] == "failed", "reason"])
    assert [reason.partition(": ")[2].partition(": ")[0] for reason in reasons] == ["cut.jpg", "empty.png", "text.jpg"]
    assert reasons[1] == "stylized: empty.png: empty: 0 bytes"
    assert verify(tmp_path / "run", deep=True) == []
    assert run(config, "failures.max_fraction=0.5") == 0


def test_provenance_names_models_and_no_path(finished: Path) -> None:
    store = RunStore.open(finished / "run")
    provenance = json.loads(store.ledger()["provenance"].iloc[0])
    assert set(provenance["experts"]) == {"stylize", "destylize"}
    assert provenance["experts"]["stylize"]["model_hash"]
    assert str(finished) not in json.dumps(provenance)


def test_a_size_that_the_experts_cannot_draw_is_refused_when_planned(tmp_path: Path) -> None:
    config = small_config(tmp_path)
    with pytest.raises(ConfigError, match=r"zoo:restyle draws 64 x 64 px only, and the run's pictures are 512 x 512 px "
                                          r"\(size\): set size: 64"):
        run(config, "size=512")
    one = "experts.stylize={model: someone/editor, revision: '%s', width: 64, height: 32}" % ("0" * 40)
    with pytest.raises(ConfigError, match=r"someone/editor draws 64 x 32 px only.*give the expert a size rule"):
        run(config, one)
    assert not (tmp_path / "run").exists()


def test_dry_run_plans_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_config(small_config(tmp_path), (), dry_run=True, retry_failed=False) == 0
    said = capsys.readouterr().err
    assert "planned 12 units" in said and "sources." not in said, "emoji have all their labels"
    assert not (tmp_path / "run").exists()


def test_missing_labels_and_duplicates_are_said_when_planned(tmp_path: Path,
                                                             capsys: pytest.CaptureFixture[str]) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for i in range(3):
        Image.new("RGB", (64, 64), (80 * i, 0, 0)).save(images / f"{i}.png")
    Image.new("RGB", (64, 64), (0, 0, 0)).save(images / "copy.png")
    (tmp_path / "labels.csv").write_text("file,caption\n1.png,a dark square\n")
    values = yaml.safe_load(small_config(tmp_path).read_text())
    values["sources"]["input"] = {"kind": "folder", "path": str(images), "table": str(tmp_path / "labels.csv")}
    values["recipe"] |= {"per_target": 1, "match_set": False}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(values))
    assert run_config(tmp_path / "config.yaml", (), dry_run=True, retry_failed=False) == 0
    said = capsys.readouterr().err
    assert "input 4 images (1 duplicate left out: copy.png (as 0.png))" in said
    assert "\nsources.input: captions 1 of 3, subjects 0 of 3, styles 0 of 3\n" in said
    assert "labels.csv: of 4 pictures 3 without a row: 0.png, 2.png, copy.png" in said
    assert "sources.subjects" not in said


def test_rules_on_columns_that_nobody_writes_are_refused_before_work(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="clip"):
        run(small_config(tmp_path, rules=[{"column": "clip.image.content_stylized", "min": 0.5}]))
    assert not (tmp_path / "run").exists()
