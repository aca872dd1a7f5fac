"""Experts on pairs: which member of a triplet a training takes for what, and its result as an expert of a run."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from curate.config import load_yaml, parse
from curate.interfaces import ExpertRequest
from curate.train.config import TrainConfig
from curate.train.loading import load_uso
from pipelines.data import DataConfig, DatasetConfig, RolesConfig, TripletStream, batches
from pipelines.diffusers_expert import DiffusersExpert, ImageArguments
from pipelines.training import MetricsLog
from tests.test_train_data import make_dataset, picture
from tests.thread_count import threads
from tests.train_parts import make_parts, run, write

DESTYLIZE = {"target": "content", "content": "stylized", "style": None}
TONES = {"content": 0, "style": 10, "stylized": 20}
"""Blue of the members of a triplet, plus its number: see `make_dataset`."""
CONFIGS = Path(__file__).parents[1] / "configs" / "train"


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_parts(tmp_path_factory.mktemp("parts"))
    shapes = ((64, 64), (128, 64))
    make_dataset(folder / "mixed-run", 6, run="mixed", size=lambda i: shapes[i % 2]).rename(folder / "mixed")
    return folder


def data(parts: Path, roles: dict[str, str | None], name: str = "shards", **changes: object) -> dict[str, object]:
    datasets = [{"path": str(parts / name)}]
    return {"datasets": datasets, "size_px": 64, "style_px": 32, "shuffle_buffer": 4, "roles": roles, **changes}


def curve(out: Path) -> list[float]:
    return [float(line["flow"]) for line in MetricsLog(out / "metrics.jsonl").read() if "flow" in line]


@pytest.mark.parametrize(
    "roles",
    [RolesConfig(), RolesConfig(target="content", content="stylized", style=None),
     RolesConfig(target="style", content=None, style="content")],
)
@pytest.mark.parametrize("buckets", [False, True])
def test_batches_hold_the_members_that_the_roles_name(parts: Path, roles: RolesConfig, buckets: bool) -> None:
    config = DataConfig(datasets=(DatasetConfig(path=str(parts / "mixed")),), size_px=64, buckets=buckets, roles=roles)
    for batch in islice(batches(TripletStream(config, seed=0), config, batch_size=2, seed=0), 4):
        for name, role in roles.model_dump().items():
            images = getattr(batch, name)
            if role is None:
                assert images is None
            else:
                blue = (images[:, 2, 8, 8] + 1) * 127.5 - TONES[role]
                assert all(abs(each - round(each)) < 0.05 and 0 <= round(each) < 6 for each in blue.tolist())
        moved, first = batch.to(torch.device("cpu")), batch.rows(0, 1)
        assert (moved.style is None) == (first.style is None) == (roles.style is None)


def test_a_destylize_expert_is_trained_and_then_serves_a_run(parts: Path, tmp_path: Path) -> None:
    """Cold and warm cache, with buckets and content references of their own size, make the curve of none."""
    expert = {"stage": "expert", "batch": 2, "samples": {"count": 2, "steps": 2, "split": "train"},
              "validation": {"every": 4, "split": "train", "count": 2, "pictures": 2},
              "data": data(parts, DESTYLIZE, "mixed", buckets=True, content_size_px=48)}
    code, said = run(write(parts, tmp_path / "d", **expert))
    assert code == 0, said
    for name in ("cold", "warm"):
        code, said = run(write(parts, tmp_path / name, cache=str(tmp_path / "cache"), **expert))
        assert code == 0, said
        assert curve(tmp_path / name) == pytest.approx(curve(tmp_path / "d"), rel=1e-5)
    before, after = load_uso(str(parts / "base")), load_uso(str(tmp_path / "d" / "model"))
    assert not torch.equal(before.transformer.proj_out.weight, after.transformer.proj_out.weight)
    assert torch.equal(before.projector.high_projection.weight, after.projector.high_projection.weight)
    with Image.open(tmp_path / "d" / "samples" / "step-000004.png") as sheet:
        assert sheet.width == 3 * 68 - 4  # stylized, plain, made
    lines = MetricsLog(tmp_path / "d" / "metrics.jsonl").read()
    assert "val_flow" in lines[-1] and "val_style" not in lines[-1]

    images = ImageArguments(content="image", style=None)
    served = DiffusersExpert(model=str(tmp_path / "d" / "model"), images=images, steps=2).load("cpu")
    requests = [ExpertRequest("destylize", picture((64, 64), tone), None, "a red tent", "preserved", 1)
                for tone in (0, 0, 200)]
    with threads(1):  # two share a batch out, and last bits differ by place
        one, same, other = (np.asarray(image).astype(int) for image in served(requests))
    assert one.shape == (64, 64, 3)
    assert np.array_equal(one, same) and not np.array_equal(one, other)


def test_stylize_and_destylize_learn_different_things_from_the_same_pairs(parts: Path, tmp_path: Path) -> None:
    curves = {}
    for name, roles in (("stylize", {}), ("destylize", DESTYLIZE), ("swapped", {"target": "content", "content": None})):
        path = write(parts, tmp_path / name, stage="expert", samples={"count": 0}, data=data(parts, roles))  # type: ignore[arg-type]
        code, said = run(path)
        assert code == 0, said
        curves[name] = curve(tmp_path / name)
    assert len({tuple(each) for each in curves.values()}) == 3
    assert curves["stylize"][0] != curves["destylize"][0]
    moved = load_uso(str(tmp_path / "stylize" / "model")).projector.high_projection.weight
    assert not torch.equal(moved, load_uso(str(parts / "base")).projector.high_projection.weight)


@pytest.mark.parametrize("changes", [{"stage": "style_alignment"}, {"stage": "expert", "reward": {}}])
def test_what_needs_a_style_reference_says_so(parts: Path, tmp_path: Path, changes: dict[str, object]) -> None:
    code, said = run(write(parts, tmp_path / "n", data=data(parts, DESTYLIZE), **changes))
    assert code != 0 and "data.roles.style" in said


@pytest.mark.parametrize("verb", ["stylize", "destylize"])
def test_the_configs_of_the_experts(verb: str) -> None:
    path = CONFIGS / f"expert_{verb}.yaml"
    values, lines = load_yaml(path)
    config = parse(TrainConfig, values, file=path, lines=lines)
    assert config.stage == "expert" and config.data.roles.target == ("stylized" if verb == "stylize" else "content")
    assert f"curate train configs/train/expert_{verb}.yaml" in path.read_text()
