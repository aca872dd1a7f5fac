"""The hub's token goes to the hub and nowhere else: not into errors, logs, or any file of the run."""

from __future__ import annotations

import logging
import traceback
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import yaml

from curate.errors import ModelError
from curate.models import commit_of
from curate.run.command import run_config
from tests.hub_server import COMMIT, hub_server, lead_to
from tests.preset_parts import picture
from tests.tiny_pipelines import save_instruct_pix2pix

TOKEN = "hf_SecretSecretSecretSecretSecretSecre"


def config_file(folder: Path, model: str, **scorers: Any) -> Path:
    """A run of one target whose experts are ``model``."""
    (folder / "input").mkdir(exist_ok=True)
    picture(1).save(folder / "input" / "a red cat.png")
    (folder / "input" / "a red cat.txt").write_text("a red cat")
    expert = {"kind": "diffusers", "model": model, "steps": 1, "images": {"content": "image", "style": None}}
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump({
        "output": str(folder / "run"), "size": 64, "block": 1, "val_fraction": 0.0,
        "sources": {"input": {"kind": "folder", "path": str(folder / "input"), "sidecar": "txt"}},
        "recipe": {"kind": "from_stylized", "new_subject": "prompt"},
        "experts": {"stylize": {**expert, "images": {"content": None, "style": "image"}}, "destylize": expert},
        "scorers": {"colour": {"kind": "colour"}, **scorers},
        "rules": [{"column": "colour.only", "min": -9.0}]}))
    return path


def test_a_token_reaches_the_hub_and_stands_nowhere(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
        capfd: pytest.CaptureFixture[str]) -> None:
    caplog.set_level(logging.DEBUG)
    told: list[str] = []
    local = str(save_instruct_pix2pix(tmp_path / "model"))
    commit_of.cache_clear()
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with hub_server({"someone/edit": {}, "someone/dino": {}}, token=TOKEN) as hub:
        lead_to(hub, tmp_path / "cache", monkeypatch)
        assert commit_of("someone/edit") == COMMIT
        assert run_config(config_file(tmp_path, local), (), dry_run=False, retry_failed=False) == 0
        dino = {"dino": {"kind": "dino", "model": "someone/dino"}}
        for model, scorers in ((local, dino), ("someone/edit", {})):
            with pytest.raises(ModelError, match=r"someone/") as caught:
                run_config(config_file(tmp_path, model, **scorers), (), dry_run=False, retry_failed=False)
            told += traceback.format_exception(caught.value)
        monkeypatch.setenv("HF_TOKEN", "hf_another")
        commit_of.cache_clear()
        with pytest.raises(ModelError, match="someone/edit: its commit"):
            commit_of("someone/edit")
    commit_of.cache_clear()
    huggingface_hub.close_session()
    assert hub.tokens("/api/models/someone/edit") == {f"Bearer {TOKEN}", "Bearer hf_another"}
    assert hub.tokens("/someone/dino/resolve/") == hub.tokens("/someone/edit/resolve/") == {f"Bearer {TOKEN}"}
    assert TOKEN not in "".join([*told, caplog.text, *capfd.readouterr()])
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert {"run.json", "plan.parquet"} <= {file.name for file in files} and any("ledger" in str(f) for f in files)
    assert not [file for file in files if TOKEN.encode() in file.read_bytes()]
