"""A training's folder remembers its config: no checkpoint goes on under another one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pipelines.training import MetricsLog
from tests.test_train_data import make_dataset
from tests.tiny_uso import tiny_uso
from tests.train_parts import make_parts, run, write

SHORT = {"steps": 2, "samples": {"count": 0}}


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_parts(tmp_path_factory.mktemp("parts"))
    make_dataset(folder / "other-run", 7, run="other", size=lambda _: (64, 64)).rename(folder / "other")
    return folder


@pytest.fixture(scope="module")
def begun(parts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training of two steps: its config's path."""
    path = write(parts, tmp_path_factory.mktemp("begun") / "t", **SHORT)
    assert run(path)[0] == 0
    return path


def copy_of(begun: Path, folder: Path) -> Path:
    return Path(shutil.copytree(begun.with_suffix(""), folder / "t"))


def last_step(out: Path) -> int:
    return int(MetricsLog(out / "metrics.jsonl").read()[-1]["step"])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("optimiser.lr=0.01", "optimiser.lr was 0.001 and is 0.01"),
        ("seed=1", "seed was 0 and is 1"),
        ("reward={num_steps: 2}", "reward"),
        ("data.datasets.0.path={other}", "data.datasets.0.path has other contents"),
        ("base={base}", "base has other contents"),
    ],
)
def test_a_checkpoint_of_another_config_is_refused_by_the_keys_that_differ(
    parts: Path, begun: Path, tmp_path: Path, change: str, told: str
) -> None:
    out, base = copy_of(begun, tmp_path), tmp_path / "base"
    tiny_uso(seed=1).save_pretrained(base)
    before = {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}
    change = change.replace("{other}", str(parts / "other")).replace("{base}", str(base))
    code, said = run(begun, "--set", f"out={out}", "--set", "steps=4", "--set", change)
    assert code != 0 and told in said and str(out / "checkpoint.pt") in said and "config.json" in said
    assert " steps was" not in said
    assert {file: file.read_bytes() for file in out.rglob("*") if file.is_file()} == before


def test_what_does_not_decide_the_training_may_differ(parts: Path, begun: Path, tmp_path: Path) -> None:
    out = copy_of(begun, tmp_path)
    moved = {"base": tmp_path / "moved-base", "data.datasets.0.path": tmp_path / "moved-shards"}
    shutil.copytree(parts / "base", moved["base"])
    shutil.copytree(parts / "shards", moved["data.datasets.0.path"])
    drawn = {"samples.count": 1, "samples.split": "train", "samples.steps": 1}
    changes = {"out": out, "steps": 3, "save_every": 1, "log_every": 3, "keep_last": 2, **drawn,
               "cache": tmp_path / "cache", "gradient_checkpointing": "true", "device": "cpu", **moved}
    code, said = run(begun, *(word for key, value in changes.items() for word in ("--set", f"{key}={value}")))
    assert code == 0, said
    assert last_step(out) == 3
    assert json.loads((out / "config.json").read_text())["config"]["steps"] == 3


def test_a_folder_of_a_version_that_remembered_nothing_is_gone_on_with(begun: Path, tmp_path: Path) -> None:
    out = copy_of(begun, tmp_path)
    (out / "config.json").unlink()
    assert run(begun, "--set", f"out={out}", "--set", "steps=3")[0] == 0
    assert last_step(out) == 3
    code, said = run(begun, "--set", f"out={out}", "--set", "steps=4", "--set", "batch=2")
    assert code != 0 and "batch was 3 and is 2" in said
    (out / "config.json").write_text("{")
    code, said = run(begun, "--set", f"out={out}")
    assert code != 0 and "cannot be read as the config" in said


def test_without_a_checkpoint_any_config_begins_and_resume_insists_on_one(begun: Path, tmp_path: Path) -> None:
    out = copy_of(begun, tmp_path)
    code, said = run(begun, "--resume", "--set", f"out={tmp_path / 'none'}")
    assert code != 0 and "no checkpoint to go on from" in said and not (tmp_path / "none").exists()
    assert run(begun, "--resume", "--set", f"out={out}", "--set", "steps=3")[0] == 0
    assert last_step(out) == 3
    (out / "checkpoint.pt").unlink()
    assert run(begun, "--set", f"out={out}", "--set", "seed=1")[0] == 0
    assert json.loads((out / "config.json").read_text())["config"]["seed"] == 1
