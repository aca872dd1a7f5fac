"""Every preset through a whole run, plan to verify, on both engines: the images are those of the right references."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus

from curate.images import decode, fit
from curate.interfaces import ExpertRequest
from curate.run.command import run_config
from curate.run.config import load_config
from curate.seal import verify
from curate.seeds import seed
from curate.store import RunStore
from tests.preset_parts import PRESETS, PX, picture
from tests.thread_count import threads

RUNS = {"flux2-klein": "flux2-klein", "flux2-dev": "flux2-dev", "qwen-image-edit": "qwen-image-edit",
        "flux1-kontext": "flux1-kontext", "sdxl-ip-adapter": "sdxl-destylize", "uso": "uso"}
"""Preset that stylizes -> preset that de-stylizes."""
SUBJECTS = ("a red cat", "an old boat", "a tall tree")
TOKEN = "hf_SecretSecretSecretSecretSecretSecre"


def config_file(folder: Path, models: dict[str, dict[str, Any]], *, engine: str) -> Path:
    """A run of two targets and three plain subjects, all with captions."""
    for kind, first in (("input", 10), ("subjects", 20)):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for i, words in enumerate(SUBJECTS[:2] if kind == "input" else SUBJECTS):
            picture(first + i).save(folder / kind / f"{i}.png")
            (folder / kind / f"{i}.txt").write_text(words)
    values: dict[str, Any] = {
        "output": str(folder / engine), "seed": 3, "size": PX, "block": 2, "val_fraction": 0.0,
        "sources": {kind: {"kind": "folder", "path": str(folder / kind), "sidecar": "txt", "licence": "CC0-1.0"}
                    for kind in ("input", "subjects")},
        "recipe": {"kind": "from_stylized", "layout": "both", "new_subject": "both"},
        "experts": {verb: {"preset": preset, "licence": f"{verb}: MIT", **models[preset]} for verb, preset in (
            ("stylize", next(iter(models))), ("destylize", list(models)[-1]))},
        "scorers": {"colour": {"kind": "colour"}},
        "rules": [{"column": "colour.only", "min": -9.0}],
        "engine": {"kind": engine, **({"cpus": 2} if engine == "ray" else {})}}
    path = folder / f"{engine}.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def shards(run: Path) -> dict[str, str]:
    return {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in (run / "shards").iterdir()}


def check_images(path: Path, store: RunStore) -> None:
    """Each committed image is what its expert gives for the references, words and seed that the plan names."""
    config = load_config(path)
    experts = {verb: expert.load("cpu") for verb, expert in config.experts.items()}
    for unit in store.units():
        made = {role: decode(data) for role, data in store.load_images([unit.unit_id])[unit.unit_id].items()}
        given = {role: fit(decode(config.sources[item.source].read(item.locator)), PX, config.fit)
                 for role, item in unit.inputs.items()}
        assert unit.caption and unit.style_caption and unit.caption != unit.style_caption
        wanted = {
            "content": ExpertRequest("destylize", given["stylized"], None, unit.caption, unit.layout,
                                     seed(3, unit.unit_id, "content")),
            "style": ExpertRequest("stylize", given["subject"], given["stylized"], unit.style_caption, unit.layout,
                                   seed(3, unit.unit_id, "style"))}
        for role, request in wanted.items():
            with threads(config.experts[request.verb].resources.cpus):  # as the engine did: equal bytes
                again = experts[request.verb]([request] * 2)
            assert any(np.array_equal(np.asarray(image), np.asarray(made[role])) for image in again), role


@pytest.mark.parametrize("preset", RUNS)
def test_a_preset_runs_from_plan_to_verify(preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                           capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(pipeline_qwenimage_edit_plus, "VAE_IMAGE_SIZE", PX * PX)
    monkeypatch.setattr(pipeline_qwenimage_edit_plus, "CONDITION_IMAGE_SIZE", PX * PX)
    models = {name: PRESETS[name](tmp_path / "models" / name) for name in (preset, RUNS[preset])}
    path = config_file(tmp_path, models, engine="local")
    assert run_config(path, (), dry_run=False, retry_failed=False) == 0
    run = tmp_path / "local"
    assert verify(run, deep=True) == []
    store = RunStore.open(run)
    check_images(path, store)
    licences = {verb: f"{verb}: MIT" for verb in ("stylize", "destylize")}
    for text in store.ledger()["provenance"]:
        assert {verb: each["licence"] for verb, each in json.loads(text)["experts"].items()} == licences
    assert all(licence in (run / "shards" / "README.md").read_text() for licence in licences.values())
    assert TOKEN not in "".join(capfd.readouterr())
    assert all(TOKEN.encode() not in file.read_bytes() for file in run.rglob("*") if file.is_file())


def on_both(preset: str, folder: Path) -> None:
    models = {name: PRESETS[name](folder / "models" / name) for name in (preset, RUNS[preset])}
    for engine in ("local", "ray"):
        assert run_config(config_file(folder, models, engine=engine), (), dry_run=False, retry_failed=False) == 0
    assert verify(folder / "ray", deep=True) == []
    assert shards(folder / "local") == shards(folder / "ray")


def test_klein_gives_the_same_bytes_on_ray(tmp_path: Path) -> None:
    on_both("flux2-klein", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("preset", [name for name in RUNS if name != "flux2-klein"])
def test_a_preset_gives_the_same_bytes_on_ray(preset: str, tmp_path: Path) -> None:
    on_both(preset, tmp_path)
