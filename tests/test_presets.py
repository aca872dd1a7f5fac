"""Every preset drives its true pipeline class: references, prompt and seed all reach the result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus

from curate.interfaces import Expert
from curate.run.config import load_config
from pipelines.editors.calls import EditorCall
from pipelines.editors.presets import PRESETS as PRESET_FOLDER
from pipelines.editors.presets import merged
from tests.preset_parts import PIPELINES, PRESETS, PX, expert_of, request

STYLIZE = [name for name in PRESETS if name != "sdxl-destylize"]
DESTYLIZE = [name for name in PRESETS if name != "sdxl-ip-adapter"]
Load = Callable[[str], Expert]


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Load:
    """The loaded expert of a preset; built once."""
    loaded: dict[str, Expert] = {}

    def get(name: str) -> Expert:
        if name not in loaded:
            loaded[name] = expert_of(name, PRESETS[name](tmp_path_factory.mktemp(name))).load("cpu")
        return loaded[name]

    return get


@pytest.fixture(autouse=True)
def small_references(monkeypatch: pytest.MonkeyPatch) -> None:
    """Qwen-Image-Edit resizes references to areas that are constants of its module."""
    monkeypatch.setattr(pipeline_qwenimage_edit_plus, "VAE_IMAGE_SIZE", PX * PX)
    monkeypatch.setattr(pipeline_qwenimage_edit_plus, "CONDITION_IMAGE_SIZE", PX * PX)


def pixels(expert: Expert, *requests: Any) -> list[np.ndarray]:
    images = expert(list(requests))
    assert all(image.size == (PX, PX) and image.mode == "RGB" for image in images)
    return [np.asarray(image).astype(int) for image in images]


def differs(one: np.ndarray, other: np.ndarray) -> bool:
    """More than a few pixels rounded the other way."""
    return float((one != other).mean()) > 0.02


def test_the_presets_are_those_of_the_folder() -> None:
    assert {file.stem for file in PRESET_FOLDER.glob("*.yaml")} == set(PRESETS)


@pytest.mark.parametrize("name", ["flux2-klein", "flux1-kontext", "qwen-image-edit", "uso-paper"])
def test_a_dataset_config_is_valid_and_opens_with_what_it_takes(name: str) -> None:
    path = PRESET_FOLDER.parent / f"{name}.yaml"
    config = load_config(path)
    opening = path.read_text().split("output:")[0]
    assert opening.startswith(f"# curate run configs/{name}.yaml")
    for word in ("# Hardware:", "# Cost:", "# Yield:"):
        assert word in opening
    for word in ("Cost", "Yield"):
        assert "estimate" in opening.split(f"# {word}:")[1].splitlines()[0]
    licences = [config.captioner.licence if config.captioner else "",  # all told, whatever they are
                *(expert.licence for expert in config.experts.values())]  # type: ignore[attr-defined]
    assert all(licences)
    if name == "flux2-klein":
        assert all(licence.endswith("Apache-2.0") for licence in licences)


@pytest.mark.parametrize("name", STYLIZE)
def test_stylize_uses_both_references_the_prompt_and_the_seed(name: str, load: Load) -> None:
    expert = load(name)
    assert isinstance(expert, EditorCall) and type(expert.pipeline).__name__ == PIPELINES[name]
    base, again = pixels(expert, request(), request())
    assert np.array_equal(base, again)
    swapped, content, style, prompt, seed = (pixels(expert, changed)[0] for changed in (
        request(content=2, style=1), request(content=3), request(style=3), request(prompt="two dogs"), request(seed=6)))
    for changed in (swapped, content, style, prompt, seed):
        assert differs(base, changed)
    assert differs(content, style)


def test_the_ip_adapter_of_sdxl_acts_on_the_style_block_alone(load: Load) -> None:
    processors = load("sdxl-ip-adapter").pipeline.unet.attn_processors  # type: ignore[attr-defined]
    scales = {name: each.scale for name, each in processors.items() if hasattr(each, "scale")}
    assert len(scales) == 2 + 1 + 3  # down, mid, up
    assert {name: scale for name, scale in scales.items() if scale != [0.0]} == {
        "up_blocks.0.attentions.1.transformer_blocks.0.attn2.processor": [1.0]}


@pytest.mark.parametrize("name", DESTYLIZE)
def test_destylize_uses_the_image_the_prompt_the_seed_and_the_layout(name: str, load: Load) -> None:
    expert = load(name)
    base, again, image, prompt, seed = pixels(expert, *(request("destylize", style=None, **changes) for changes in (
        {}, {}, {"content": 3}, {"prompt": "two dogs"}, {"seed": 6})))
    assert np.array_equal(base, again)
    for changed in (image, prompt, seed):
        assert differs(base, changed)
    if name not in ("sdxl-destylize", "uso"):  # those have no words for another layout
        assert differs(base, pixels(expert, request("destylize", style=None, layout="shifted"))[0])


@pytest.mark.parametrize("name", [name for name in STYLIZE if name != "sdxl-ip-adapter"])
def test_a_new_subject_may_come_by_words_alone(name: str, load: Load) -> None:
    base, words, style = (pixels(load(name), request(content=None, **changes))[0] for changes in (
        {}, {"prompt": "two dogs"}, {"style": 3}))
    assert differs(base, words) and differs(base, style)


def test_without_a_controlnet_sdxl_takes_words_alone(tmp_path: Path) -> None:
    changes = {"components": {"controlnet": None}, "arguments": {"controlnet_conditioning_scale": None}}
    values = merged(PRESETS["sdxl-ip-adapter"](tmp_path), changes)
    expert = expert_of("sdxl-ip-adapter", values, pipeline="StableDiffusionXLPipeline", control=None).load("cpu")
    base, words, style = (pixels(expert, request(content=None, **changed))[0] for changed in (
        {}, {"prompt": "two dogs"}, {"style": 3}))
    assert differs(base, words) and differs(base, style)


@pytest.mark.parametrize("name", STYLIZE)
def test_batch_mates_do_not_matter(name: str, load: Load) -> None:
    one, other = request(), request(content=4, style=3, prompt="two dogs", seed=9)
    first, second = pixels(load(name), one, other)
    assert np.array_equal(first, pixels(load(name), one, one)[0])
    assert np.array_equal(second, pixels(load(name), other, other)[1])
