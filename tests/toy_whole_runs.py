"""The whole-run YAMLs of configs/ at toy size: models, paths and sizes are others, and so is the engine: no Ray."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from curate.config import load_yaml
from pipelines.editors.presets import merged
from tests.preset_parts import PRESETS, PX, picture
from tests.tiny_editors import save_captioner
from tests.toy_judges import save_judge

CONFIGS = Path(__file__).parents[1] / "configs"
WHOLE_RUNS = ("flux2-klein", "flux1-kontext", "qwen-image-edit", "uso-paper")
WORDS = ("a red cat", "an old boat", "")
"""Captions of the targets; one has none, so that the captioner has work."""


def toy_config(name: str, folder: Path) -> Path:
    """configs/NAME.yaml with toy models and small pictures, in this process; what else it says stays."""
    values, _ = load_yaml(CONFIGS / f"{name}.yaml")
    for source, given in values["sources"].items():
        given["path"] = str(_pictures(folder / source, first=10 if source == "input" else 20))
    values |= {"output": str(folder / "run"), "size": PX, "block": 2, "engine": {"kind": "local"}}
    on_cpu = {"dtype": "float32", "resources": {"gpus": 0}}
    values["captioner"] |= {**on_cpu, "model": str(save_captioner(folder / "captioner")), "max_tokens": 8}
    toys = {preset: PRESETS[preset](folder / "models" / preset)
            for preset in {expert["preset"] for expert in values["experts"].values()}}
    values["experts"] = {verb: merged(expert, {**toys[expert["preset"]], **on_cpu})
                         for verb, expert in values["experts"].items()}
    judge = {"model": str(save_judge("qwen3-vl", folder / "judge")), "min_mass": 0.0}  # random: it may say anything
    small = {"csd": {"model": "zoo:csd"}, "clip": {"model": "zoo:clip"}, "vlm": judge}
    for scorer in values["scorers"].values():
        if scorer["kind"] in small:
            scorer |= {**on_cpu, **small[scorer["kind"]]}
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def with_open_rules(path: Path) -> Path:
    """The config with the same rules at bounds that every number keeps."""
    values: dict[str, Any] = yaml.safe_load(path.read_text())
    for rule in values["rules"]:
        rule |= {bound: limit for bound, limit in (("min", -99.0), ("max", 99.0)) if bound in rule}
    values["near_duplicates"] = None
    path.write_text(yaml.safe_dump(values))
    return path


def _pictures(folder: Path, *, first: int) -> Path:
    """Three pictures in a folder that is their style, with words beside all but one."""
    place = folder / "ink"
    place.mkdir(parents=True)
    for i, words in enumerate(WORDS):
        picture(first + i).save(place / f"{i}.png")
        if words or first > 10:
            (place / f"{i}.txt").write_text(words or "a tall tree")
    return folder
