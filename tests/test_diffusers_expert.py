"""DiffusersExpert drives a real diffusers pipeline: images, prompt and seed reach it, and typos stop it early."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from curate.errors import ModelError
from curate.interfaces import ExpertRequest
from pipelines.diffusers_expert import DiffusersExpert, ImageArguments
from tests.tiny_pipelines import save_instruct_pix2pix


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_instruct_pix2pix(tmp_path_factory.mktemp("expert") / "pipeline")


def config(folder: Path, **changes: object) -> DiffusersExpert:
    images = ImageArguments(content="image", style=None)
    values: dict[str, object] = {"model": str(folder), "images": images, "steps": 2}
    return DiffusersExpert.model_validate({**values, **changes})


def picture(seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8))


def request(content: int = 0, prompt: str = "a cat", seed: int = 1) -> ExpertRequest:
    return ExpertRequest("stylize", picture(content), None, prompt, "preserved", seed)


def test_image_prompt_and_seed_each_change_the_output_and_nothing_else_does(folder: Path) -> None:
    expert = config(folder).load("cpu")
    base, again, image, prompt, seed = (np.asarray(i) for i in expert(
        [request(), request(), request(content=5), request(prompt="two dogs"), request(seed=9)]))
    assert base.shape == (64, 64, 3)
    assert np.array_equal(base, again)
    for changed in (image, prompt, seed):
        assert np.abs(changed.astype(int) - base).mean() > 0.5


def test_one_unit_a_call_gives_each_request_its_own_image(folder: Path) -> None:
    single = config(folder, batched=False).load("cpu")
    first, second = single([request(content=0), request(content=5)])
    batched = config(folder).load("cpu")([request(content=0), request(content=5)])
    for one, many in zip((first, second), batched, strict=True):
        assert np.abs(np.asarray(one).astype(int) - np.asarray(many)).max() <= 2  # batch size moves the last bits
    assert not np.array_equal(np.asarray(first), np.asarray(second))


def test_prompt_templates_by_verb_and_layout(folder: Path) -> None:
    expert = config(folder, prompts={"stylize": "ink drawing of {prompt}"}).load("cpu")
    plain = config(folder).load("cpu")
    styled = request(prompt="a cat")._replace(style=picture(7))
    assert np.array_equal(np.asarray(expert([styled])[0]),
                          np.asarray(plain([request(prompt="ink drawing of a cat")])[0]))


def test_an_argument_that_the_call_does_not_take_is_named(folder: Path) -> None:
    with pytest.raises(ModelError, match="style_picture"):
        config(folder, images=ImageArguments(content="image", style="style_picture")).load("cpu")
    with pytest.raises(ModelError, match="strenght"):
        config(folder, arguments={"strenght": 0.5}).load("cpu")


def test_a_folder_that_is_no_pipeline_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no pipeline in this folder"):
        config(tmp_path).load("cpu")


def test_identity_follows_weights_and_values_but_not_place_or_workers(folder: Path, tmp_path: Path) -> None:
    base = config(folder).identity()
    moved, damaged = tmp_path / "moved", tmp_path / "damaged"
    for copy in (moved, damaged):
        shutil.copytree(folder, copy)
    weights = next(damaged.glob("unet/*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert config(moved).identity() == base
    assert config(folder, resources={"cpus": 2}).identity() == base
    assert config(folder, guidance=3.0).identity() != base
    assert config(damaged).identity() != base
