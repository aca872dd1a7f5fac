"""The feature cache of trainings: the same losses as without, and entries that a changed model never reads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from curate.config import load_yaml, parse
from curate.train.config import TrainConfig
from curate.train.loading import load_uso
from pipelines.data import DataConfig, DatasetConfig
from pipelines.training import MetricsLog
from pipelines.uso.features import Encoders, Kind
from pipelines.uso.fingerprint import fingerprint
from pipelines.uso.pipeline import UsoPipeline
from pipelines.uso.training import freeze_all_but
from tests.tiny_uso import tiny_uso
from tests.train_parts import make_parts, run, write

KINDS: tuple[Kind, ...] = ("target", "content", "style", "text")
DATA = DataConfig(datasets=(DatasetConfig(path="d"),), size_px=64, style_px=32)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_parts(tmp_path_factory.mktemp("parts"))


def losses(out: Path) -> list[float]:
    lines = MetricsLog(out / "metrics.jsonl").read()
    return [float(line[name]) for line in lines for name in ("flow", "reward_loss") if name in line]


def weights(out: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = load_uso(str(out / "model")).transformer.state_dict()
    return state


@pytest.mark.parametrize("style_encoding", ["vision", "vae"])
def test_a_training_with_the_cache_is_the_one_without(parts: Path, tmp_path: Path, style_encoding: str) -> None:
    """Through a cache that is empty at first, one that is half full, and one that has all; into a second epoch."""
    base = tmp_path / "base"
    tiny_uso(style_encoding=style_encoding, projector="hierarchical" if style_encoding == "vision" else None
             ).save_pretrained(base)
    reward = {"start_step": 2, "num_steps": 2, "batch": 2}
    common = {"base": str(base), "reward": reward, "reward_model": str(parts / "csd"), "steps": 6,
              "samples": {"count": 0}, "save_every": 6}
    common["data"] = {"datasets": [{"path": str(parts / "shards")}], "size_px": 64, "style_px": 64, "shuffle_buffer": 4}
    cache = {"cache": str(tmp_path / "cache")}
    assert run(write(parts, tmp_path / "without", **common))[0] == 0
    assert run(write(parts, tmp_path / "cold", **cache, **common))[0] == 0
    entries = sorted((tmp_path / "cache").rglob("*.safetensors"))
    assert len(entries) == 4 * 12
    for entry in entries[::2]:
        entry.unlink()
    assert run(write(parts, tmp_path / "half", **cache, **common))[0] == 0
    before = [entry.stat().st_mtime_ns for entry in entries]
    assert run(write(parts, tmp_path / "warm", **cache, **common))[0] == 0
    assert [entry.stat().st_mtime_ns for entry in entries] == before
    assert len(losses(tmp_path / "without")) == 10
    assert losses(tmp_path / "warm") == pytest.approx(losses(tmp_path / "without"), rel=1e-5)
    for name in ("half", "warm"):
        assert losses(tmp_path / name) == losses(tmp_path / "cold")
        pairs = zip(weights(tmp_path / name).values(), weights(tmp_path / "cold").values(), strict=True)
        assert all(torch.equal(one, other) for one, other in pairs)


def test_the_second_stage_encodes_only_what_the_first_has_not_kept(parts: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    common = {"cache": str(cache), "samples": {"count": 0}, "steps": 4}
    assert run(write(parts, tmp_path / "one", stage="style_alignment", **common))[0] == 0
    before = {entry: entry.stat().st_mtime_ns for entry in cache.rglob("*.safetensors")}
    assert {entry.relative_to(cache).parts[0] for entry in before} == {"target", "style", "text"}
    two = {**common, "base": str(tmp_path / "one" / "model")}
    assert run(write(parts, tmp_path / "two", **two))[0] == 0
    after = {entry: entry.stat().st_mtime_ns for entry in cache.rglob("*.safetensors")}
    assert {entry: after[entry] for entry in before} == before
    assert {entry.relative_to(cache).parts[0] for entry in after.keys() - before.keys()} == {"content", "style"}
    assert len(after) == 5 * 12
    assert run(write(parts, tmp_path / "alone", **{**two, "cache": str(tmp_path / "other")}))[0] == 0
    assert losses(tmp_path / "two") == losses(tmp_path / "alone")


def test_with_a_full_cache_only_the_styles_that_the_reward_needs_are_decoded(
    parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    common = {"cache": str(tmp_path / "cache"), "samples": {"count": 0}, "reward_model": str(parts / "csd"),
              "reward": {"start_step": 3, "num_steps": 2, "batch": 2}}
    assert run(write(parts, tmp_path / "cold", **common))[0] == 0
    decoded: list[str] = []
    from pipelines.data.triplets import TripletStream

    decode = TripletStream.decode

    def counting(self: TripletStream, *located: object) -> object:
        decoded.append("one")
        return decode(self, *located)  # type: ignore[arg-type]

    monkeypatch.setattr(TripletStream, "decode", counting)
    assert run(write(parts, tmp_path / "warm", **common))[0] == 0
    assert len(decoded) == 2


def halve(module: torch.nn.Module) -> None:
    with torch.no_grad():
        next(module.parameters()).mul_(0.5)


@pytest.mark.parametrize(
    ("change", "concerns"),
    [
        (lambda uso: halve(uso.vae), {"target", "content"}),
        (lambda uso: halve(uso.vision_encoder), {"style"}),
        (lambda uso: halve(uso.text_encoder), {"text"}),
        (lambda uso: halve(uso.text_encoder_2), {"text"}),
        (lambda uso: uso.vae.register_to_config(scaling_factor=0.7), {"target", "content"}),
        (lambda uso: uso.projector.register_to_config(levels=(-1, -2, -2)), {"style"}),
        (lambda uso: uso.vae.to(torch.bfloat16), {"target", "content"}),
        (lambda uso: halve(uso.transformer), set()),
    ],
)
def test_a_changed_model_has_another_fingerprint(change: Callable[[UsoPipeline], object], concerns: set[str]) -> None:
    uso = tiny_uso()
    before = {kind: fingerprint(uso, kind, DATA) for kind in KINDS}
    assert len(set(before.values())) == 4
    uso.encode(*uso.encode_prompt("a red tent"), [[]], [[]])  # tokenizers remember how they were last called
    change(uso)
    assert {kind for kind in KINDS if fingerprint(uso, kind, DATA) != before[kind]} == concerns


def test_a_frozen_projector_is_one_of_the_encoders_and_a_learning_one_is_not() -> None:
    uso = tiny_uso()
    freeze_all_but(uso, "style_alignment")
    assert not Encoders(uso, with_content=False).projects
    freeze_all_but(uso, "disentanglement")
    assert Encoders(uso, with_content=True).projects
    before = [fingerprint(uso, "style", DATA, projects=projects) for projects in (False, True)]
    halve(uso.projector)
    after = [fingerprint(uso, "style", DATA, projects=projects) for projects in (False, True)]
    assert after[0] == before[0] and len({*before, *after}) == 3


def test_a_changed_preparation_has_another_fingerprint_and_another_folder_has_not(tmp_path: Path) -> None:
    uso = tiny_uso()
    before = {kind: fingerprint(uso, kind, DATA) for kind in KINDS}

    def changed(**values: object) -> set[str]:
        data = DATA.model_copy(update=values)
        return {kind for kind in KINDS if fingerprint(uso, kind, data) != before[kind]}

    assert changed(size_px=32) == changed(buckets=True) == changed(content_size_px=48) == {"target", "content"}
    assert changed(style_px=48) == {"style"}
    assert changed(shuffle_buffer=7) == set()
    uso.save_pretrained(tmp_path / "there")
    moved = load_uso(str(tmp_path / "there"))
    assert {kind: fingerprint(moved, kind, DATA) for kind in KINDS} == before


def test_random_crops_cannot_be_cached(parts: Path, tmp_path: Path) -> None:
    data = {"datasets": [{"path": str(parts / "shards")}], "size_px": 64, "crop": "random"}
    code, said = run(write(parts, tmp_path / "r", data=data, cache=str(tmp_path / "cache")))
    assert code != 0 and "data.crop: centre" in said


@pytest.mark.parametrize("learn", ["full", "lora"])
def test_frozen_weights_may_be_bfloat16_while_what_learns_is_float32(parts: Path, tmp_path: Path, learn: str) -> None:
    path = write(parts, tmp_path / "f", learn=learn, lora_rank=2, frozen_dtype="bfloat16", cache=str(tmp_path / "c"))
    code, said = run(path)
    assert code == 0, said
    config = parse(TrainConfig, load_yaml(path)[0], file=path, lines={})
    from curate.train.loading import load_trainee

    uso = load_trainee(config, torch.device("cpu"))
    learning = {parameter.dtype for parameter in uso.denoiser.parameters() if parameter.requires_grad}
    frozen = {parameter.dtype for parameter in uso.vae.parameters()} | {uso.projector.dtype}
    assert (learning, frozen) == ({torch.float32}, {torch.bfloat16})
    assert (uso.transformer.x_embedder.weight.dtype == torch.bfloat16) is (learn == "lora")
    stored = torch.load(tmp_path / "f" / "checkpoint.pt", weights_only=True)["model"]
    assert {value.dtype for value in stored.values()} == {torch.float32}
    assert Encoders(uso, with_content=False).blank()[0].dtype == torch.bfloat16
