"""Trainings on pictures of several sizes: batches, samples and validation, with buckets and cut to squares."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from curate.config import load_yaml, parse
from curate.train.config import TrainConfig
from curate.train.loading import load_trainee, load_uso
from curate.train.samples import Samples, first_triplets
from curate.train.validating import Validator
from pipelines.data.transforms import prepare
from pipelines.training import MetricsLog
from pipelines.uso.encoders import encode_latents
from pipelines.uso.portions import PORTION_PX, portions
from pipelines.uso.training import UsoLosses
from tests.test_train_data import make_dataset
from tests.train_parts import make_parts, run, write

SHAPES = ((64, 64), (128, 64), (64, 128))
"""Width and height of the images of a sample: squares, wide and tall ones in turn."""


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_parts(tmp_path_factory.mktemp("parts"))
    make_dataset(folder / "mixed-run", 9, run="mixed", size=lambda i: SHAPES[i % 3]).rename(folder / "mixed")
    return folder


def data(parts: Path, name: str, **changes: object) -> dict[str, object]:
    datasets = [{"path": str(parts / name)}]
    return {"datasets": datasets, "size_px": 64, "style_px": 32, "shuffle_buffer": 4, **changes}


def config_of(path: Path) -> TrainConfig:
    return parse(TrainConfig, load_yaml(path)[0])


@pytest.mark.parametrize(("content_size_px", "content_px"), [(None, None), (48, 48)])
def test_a_model_draws_at_the_sizes_at_which_it_learnt(
    parts: Path, tmp_path: Path, content_size_px: int | None, content_px: int | None
) -> None:
    sizes = {"size_px": 96, "content_size_px": content_size_px}
    path = write(parts, tmp_path / "s", data=data(parts, "shards", **sizes), samples={"count": 0}, steps=1)
    assert run(path)[0] == 0
    model = load_uso(str(tmp_path / "s" / "model"))
    assert (model.config.size_px, model.config.content_px) == (96, content_px)


@pytest.mark.parametrize(
    ("changes", "drawn", "cached"),
    [
        ({"buckets": True}, {(64, 64), (96, 48), (48, 96)}, True),
        ({"buckets": True, "content_size_px": 48}, {(64, 64), (96, 48), (48, 96)}, False),
        ({"buckets": False}, {(64, 64)}, False),
    ],
)
def test_a_training_on_mixed_shapes_draws_and_validates_each_at_its_own(
    parts: Path, tmp_path: Path, changes: dict[str, object], drawn: set[tuple[int, int]], cached: bool
) -> None:
    path = write(
        parts, tmp_path / "m", data=data(parts, "mixed", **changes), batch=2,
        samples={"count": 6, "steps": 2, "split": "train"}, reward={"num_steps": 2}, reward_model=str(parts / "csd"),
        validation={"every": 4, "split": "train", "count": 4, "pictures": 5},
        **({"cache": str(tmp_path / "cache")} if cached else {}),
    )
    code, said = run(path)
    assert code == 0, said
    config = config_of(path)
    samples = Samples(config, first_triplets(config, "train", 6))
    made = samples.make(load_uso(str(tmp_path / "m" / "model")))
    sizes = [(each.shape[-1], each.shape[-2]) for each in made]
    assert sizes == [each.target.size for each in samples.pictures] and set(sizes) == drawn
    assert all(np.isfinite(float(line["flow"])) for line in MetricsLog(tmp_path / "m" / "metrics.jsonl").read()
               if "flow" in line)
    with Image.open(tmp_path / "m" / "samples" / "step-000004.png") as sheet:
        cells = [np.asarray(sheet)[68 * row : 68 * row + 64, 204:268] for row in range(6)]
    for cell, (width, height) in zip(cells, sizes, strict=True):  # fitted into 64 px, on white
        painted = (cell != 255).any(axis=2)
        rows, columns = (int(np.flatnonzero(painted.any(axis=axis)).max()) + 1 for axis in (1, 0))
        assert (rows, columns) == (64 * height // max(width, height), 64 * width // max(width, height))


@pytest.mark.parametrize("content_size_px", [None, 48])
def test_a_picture_of_any_shape_has_its_content_at_the_size_at_which_that_was_learnt(
    parts: Path, tmp_path: Path, content_size_px: int | None
) -> None:
    config = config_of(write(
        parts, tmp_path / "c", data=data(parts, "mixed", buckets=True, content_size_px=content_size_px)
    ))
    uso = load_trainee(config, torch.device("cpu"))
    for triplet in first_triplets(config, "train", 3):
        learnt = prepare(triplet, config.data, seed=0)
        assert learnt.content is not None
        height, width = learnt.target.shape[1:]
        used = uso.encode(*uso.encode_prompt(""), [[triplet.content]], [[]], height=height, width=width).contents[0]
        assert torch.equal(used, encode_latents(uso.vae, learnt.content[None]))


def test_each_triplet_is_validated_once_whatever_its_shape(parts: Path, tmp_path: Path) -> None:
    path = write(
        parts, tmp_path / "v", data=data(parts, "mixed", buckets=True), batch=2, samples={"count": 0}, steps=1,
        validation={"every": 1, "split": "train", "count": 8, "pictures": 0},
    )
    assert run(path)[0] == 0
    config = config_of(path)
    uso = load_trainee(config, torch.device("cpu"))
    losses = UsoLosses(uso, uso.denoiser, stage=config.stage, flow=config.flow, seed=0)
    assert config.validation is not None
    validated = Validator(config, config.validation, losses).flow.batches
    keys = [key for batch in validated for key in batch.keys]
    assert sorted(keys) == sorted(each.key for each in first_triplets(config, "train", 8)) and len(set(keys)) == 8


def test_squares_are_drawn_in_one_call_from_the_images_as_they_are(parts: Path, tmp_path: Path) -> None:
    config = config_of(write(parts, tmp_path / "s", data=data(parts, "shards", style_px=64)))
    triplets, uso = first_triplets(config, "train", 5), load_uso(str(parts / "base"))
    expected = uso(
        [each.caption for each in triplets], [each.content for each in triplets], [each.style for each in triplets],
        num_inference_steps=2, generator=[torch.Generator().manual_seed(place) for place in range(5)], output_type="pt",
    ).images
    assert all(map(torch.equal, Samples(config, triplets).make(uso), expected))


def test_portions_are_alike_and_small_and_leave_nothing_out() -> None:
    assert portions([((64, 64),)] * 8) == [list(range(8))]
    assert portions([((1024, 1024),)] * 3) == [[0], [1], [2]]
    small, tall = ((256, 256), (64, 64)), ((256, 256), (64, 128))
    found = portions([small, tall, small, small, tall, small, small])
    assert sorted(place for each in found for place in each) == list(range(7))
    assert [0, 2, 3, 5] in found and [1, 4] in found  # four of 256 px fill a portion
    assert PORTION_PX == 4 * 256 * 256
