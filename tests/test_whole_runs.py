"""Each whole-run YAML of configs/ from plan to verify on toy models: captioner, presets, scorers, judge and rules."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus

from curate.report import collect
from curate.run.command import run_config
from curate.seal import verify
from curate.store import RunStore
from tests.preset_parts import PX
from tests.toy_whole_runs import CONFIGS, WHOLE_RUNS, toy_config, with_open_rules


def test_these_are_the_whole_runs_that_name_presets() -> None:
    """A new one must be tried too."""
    named = {path.stem for path in CONFIGS.glob("*.yaml") if "preset:" in path.read_text()}
    assert named == set(WHOLE_RUNS)


@pytest.mark.slow
@pytest.mark.parametrize("name", WHOLE_RUNS)
def test_a_whole_run_works_as_written(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_qwenimage_edit_plus, "VAE_IMAGE_SIZE", PX * PX)
    monkeypatch.setattr(pipeline_qwenimage_edit_plus, "CONDITION_IMAGE_SIZE", PX * PX)
    path = toy_config(name, tmp_path)
    assert run_config(path, (), dry_run=False, retry_failed=False) == 0
    assert verify(tmp_path / "run", deep=True) == []
    planned = collect(tmp_path / "run")["funnel"]["planned"]
    ledger = RunStore.open(tmp_path / "run").ledger()
    assert len(ledger) == planned >= 3 and (ledger["status"] == "made").all()
    assert (ledger["caption"].fillna("") != "").any()  # of the target without words
    # random pictures break some rule before the judge is asked: with the bounds open it judges them all
    assert run_config(with_open_rules(path), (), dry_run=False, retry_failed=False) == 0
    assert verify(tmp_path / "run", deep=True) == []
    stats = collect(tmp_path / "run")
    assert stats["funnel"]["kept"] == planned and not stats["errors"]
    for rule in yaml.safe_load(path.read_text())["rules"]:
        assert stats["scores"][rule["column"]]["kept"]["n"] == planned, rule["column"]
