"""What a training makes of its base before it begins: another projector, a shared encoder, released files put on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch

from curate.config import load_yaml, parse
from curate.train.config import TrainConfig
from curate.train.loading import load_trainee, load_uso
from pipelines.uso.official import save_official
from pipelines.uso.projector import StyleProjector
from tests.train_parts import make_parts, run, write

CPU = torch.device("cpu")
SHORT = {"steps": 1, "samples": {"count": 0}}


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_parts(tmp_path_factory.mktemp("parts"))


def config_of(path: Path) -> TrainConfig:
    return parse(TrainConfig, load_yaml(path)[0])


@pytest.mark.parametrize("kind", ["mlp", "resampler"])
def test_another_projector_has_as_many_tokens_and_begins_the_same_whatever_the_seed(
    parts: Path, tmp_path: Path, kind: str
) -> None:
    old = load_uso(str(parts / "base")).projector
    torch.manual_seed(0)
    wanted = StyleProjector(**{**{name: value for name, value in old.config.items() if name[0] != "_"}, "kind": kind,
                               "tokens_per_level": old.num_tokens}).state_dict()
    options = {"stage": "style_alignment", "projector": kind, "seed": 7, **SHORT}
    begun = load_trainee(config_of(write(parts, tmp_path / "p", **options)), CPU)
    assert begun.projector.num_tokens == old.num_tokens
    assert all(torch.equal(value, wanted[name]) for name, value in begun.projector.state_dict().items())
    code, said = run(write(parts, tmp_path / "p", **options))
    assert code == 0, said
    trained = load_uso(str(tmp_path / "p" / "model"))
    assert trained.projector.config.kind == kind
    assert not all(torch.equal(value, wanted[name]) for name, value in trained.projector.state_dict().items())
    back = config_of(write(parts, tmp_path / "b", base=str(tmp_path / "p" / "model"), projector="hierarchical"))
    assert load_trainee(back, CPU).projector.config.tokens_per_level == old.config.tokens_per_level


def test_the_kind_that_the_base_has_keeps_its_weights(parts: Path, tmp_path: Path) -> None:
    same = load_trainee(config_of(write(parts, tmp_path / "s", projector="hierarchical")), CPU).projector.state_dict()
    assert all(torch.equal(v, same[n]) for n, v in load_uso(str(parts / "base")).projector.state_dict().items())


def test_one_encoder_for_content_and_style(parts: Path, tmp_path: Path) -> None:
    data = {"datasets": [{"path": str(parts / "shards")}], "size_px": 64, "style_px": 64}
    shared = {"style_encoding": "vae", "projector": "none", "stage": "expert", "data": data, **SHORT}
    code, said = run(write(parts, tmp_path / "v", **shared))
    assert code == 0, said
    index = json.loads((tmp_path / "v" / "model" / "model_index.json").read_text())
    assert index["style_encoding"] == "vae" and index["projector"] == index["vision_encoder"] == [None, None]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"style_encoding": "vae"}, "set projector: none"),
        ({"style_encoding": "vae", "projector": "none"}, "data.style_px"),
        ({"projector": "none"}, "set style_encoding: vae"),
        ({"projector": "perceiver"}, "projector"),
        ({"projector": "mlp", "learn": "lora"}, "learn: full"),
        ({"uso": "nowhere", "learn": "lora"}, "nowhere/dit_lora.safetensors"),
        ({"uso": "nowhere"}, "learn: lora"),
        ({"uso": "nowhere", "learn": "lora", "stage": "style_alignment"}, "learn: lora"),
    ],
)
def test_what_does_not_fit_together_is_refused(
    parts: Path, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    code, said = run(write(parts, tmp_path / "r", **changes))
    assert code != 0 and message in said
    assert not (tmp_path / "r").exists()


def test_a_training_goes_on_from_released_files(parts: Path, tmp_path: Path) -> None:
    """With a rate that moves nothing what comes out draws as what went in; with a real one it does not."""
    lora = {"learn": "lora", "stage": "expert", "lora_rank": 2}
    code, said = run(write(parts, tmp_path / "first", **lora, **SHORT, optimiser={"lr": 0.05, "warmup": 1}))
    assert code == 0, said
    released = tmp_path / "first" / "uso"
    for name, rate in (("still", 1e-12), ("moved", 0.05)):
        optimiser = {"lr": rate, "warmup": 1, "weight_decay": 0.0}
        code, said = run(write(parts, tmp_path / name, **lora, **SHORT, uso=str(released), optimiser=optimiser))
        assert code == 0, said
    drawn = {name: draw(parts, tmp_path / name / "uso") for name in ("first", "still", "moved")}
    untouched = draw(parts, None)
    torch.testing.assert_close(drawn["still"], drawn["first"], rtol=1e-5, atol=1e-5)
    for one, other in (("first", untouched), ("moved", drawn["first"])):
        assert (drawn[one] - other).abs().max() > 1e-3
    optimiser, other = {"lr": 1e-12, "warmup": 1, "weight_decay": 0.0}, str(tmp_path / "moved" / "uso")
    code, said = run(write(parts, tmp_path / "still", **lora, **SHORT, uso=other, optimiser=optimiser))
    assert code != 0 and "uso has other contents" in said


def test_released_files_are_gone_on_from_to_the_bit_over_a_bfloat16_base(parts: Path, tmp_path: Path) -> None:
    lora = {"learn": "lora", "lora_rank": 2, "frozen_dtype": "bfloat16"}
    assert run(write(parts, tmp_path / "first", **lora, **SHORT))[0] == 0
    uso = load_trainee(config_of(write(parts, tmp_path / "on", **lora, uso=str(tmp_path / "first" / "uso"))), CPU)
    save_official(tmp_path / "again", transformer=uso.transformer, projector=uso.projector)
    files = [safetensors.torch.load_file(tmp_path / name / "dit_lora.safetensors") for name in ("first/uso", "again")]
    assert all(torch.equal(value, files[1][name]) for name, value in files[0].items())


def draw(parts: Path, uso: Path | None) -> torch.Tensor:
    from PIL import Image

    from pipelines.uso.official import load_official

    pipeline = load_uso(str(parts / "base"))
    if uso is not None:
        load_official(uso, transformer=pipeline.transformer, projector=pipeline.projector)
    picture: torch.Tensor = pipeline(
        "a red tent", Image.new("RGB", (64, 64), "red"), Image.new("RGB", (64, 64), "navy"), num_inference_steps=2,
        generator=torch.Generator().manual_seed(0), output_type="pt",
    ).images
    return picture
