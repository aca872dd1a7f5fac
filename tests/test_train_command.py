"""curate train end to end at toy size: sealed shards in, a model folder or the released files out."""

from __future__ import annotations

from pathlib import Path

import huggingface_hub.constants
import numpy as np
import pytest
import torch
from diffusers import FluxPipeline, FluxTransformer2DModel
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file

from curate.config import load_yaml, parse
from curate.errors import ModelError
from curate.train.config import TrainConfig
from curate.train.loading import load_uso
from pipelines.training import MetricsLog
from pipelines.uso.official import load_official
from pipelines.uso.pipeline import UsoPipeline
from tests import preset_parts
from tests.tiny_uso import tiny_uso
from tests.train_parts import make_parts, run, write


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_parts(tmp_path_factory.mktemp("parts"))


def test_full_training_writes_a_model_a_log_and_a_grid_of_samples(parts: Path, tmp_path: Path) -> None:
    code, said = run(write(parts, tmp_path / "t"))
    assert code == 0, said
    before, after = load_uso(str(parts / "base")), load_uso(str(tmp_path / "t" / "model"))
    assert not torch.equal(before.transformer.proj_out.weight, after.transformer.proj_out.weight)
    assert torch.equal(before.projector.high_projection.weight, after.projector.high_projection.weight)
    lines = MetricsLog(tmp_path / "t" / "metrics.jsonl").read()
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert all(float(line["grad_norm_transformer"]) > 0 for line in lines)
    with Image.open(tmp_path / "t" / "samples" / "step-000004.png") as sheet:
        assert sheet.size == (4 * 68 - 4, 2 * 68 - 4)
        assert np.asarray(sheet).std() > 10


def test_a_second_call_goes_on_where_the_first_stopped(parts: Path, tmp_path: Path) -> None:
    whole, halves = write(parts, tmp_path / "whole"), write(parts, tmp_path / "halves")
    assert run(whole)[0] == run(halves, "--set", "steps=2")[0] == run(halves)[0] == 0
    one, two = (load_uso(str(tmp_path / name / "model")).transformer.state_dict() for name in ("whole", "halves"))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_second_call_goes_on_with_lora_layers_and_their_average(parts: Path, tmp_path: Path) -> None:
    options = {"learn": "lora", "lora_rank": 4, "optimiser": {"lr": 0.01, "warmup": 1, "ema": 0.9}}
    whole, halves = write(parts, tmp_path / "whole", **options), write(parts, tmp_path / "halves", **options)
    assert run(whole)[0] == run(halves, "--set", "steps=2")[0] == run(halves)[0] == 0
    for file in ("uso/dit_lora.safetensors", "lora/pytorch_lora_weights.safetensors"):
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "halves" / file).read_bytes()
    held = torch.load(tmp_path / "whole" / "checkpoint.pt", weights_only=True)
    assert len(held["model"]) == len(held["ema"]["shadow"]) == len(held["optimizer"]["state"]) == 12 + 6


def test_a_model_that_a_crash_kept_from_being_written_is_written_by_the_next_call(parts: Path, tmp_path: Path) -> None:
    path = write(parts, tmp_path / "c")
    assert run(path)[0] == 0
    weights = tmp_path / "c" / "model" / "transformer" / "diffusion_pytorch_model.safetensors"
    before = weights.read_bytes()
    for marked in ('{"step": 2}', '{"st'):
        weights.unlink(missing_ok=True)
        (tmp_path / "c" / "written.json").write_text(marked)
        assert run(path)[0] == 0
        assert weights.read_bytes() == before


def test_lora_on_a_base_whose_projector_was_never_released_is_refused_at_once(parts: Path, tmp_path: Path) -> None:
    tiny_uso(projector="mlp").save_pretrained(tmp_path / "mlp")
    code, said = run(write(parts, tmp_path / "p", base=str(tmp_path / "mlp"), learn="lora"))
    assert code != 0 and "learn: full" in said
    assert not (tmp_path / "p").exists()


def test_lora_with_reward_writes_the_released_files(parts: Path, tmp_path: Path) -> None:
    reward = {"start_step": 2, "num_steps": 2}
    path = write(parts, tmp_path / "l", learn="lora", lora_rank=4, reward=reward, reward_model=str(parts / "csd"))
    code, said = run(path)
    assert code == 0, said
    lora = load_file(tmp_path / "l" / "uso" / "dit_lora.safetensors")
    assert lora["single_blocks.0.processor.qkv_lora.up.weight"].any()
    assert {len(value) for name, value in lora.items() if ".down." in name} == {4}
    lines = MetricsLog(tmp_path / "l" / "metrics.jsonl").read()
    assert ["reward" in line for line in lines] == [False, False, True, True]
    assert not (tmp_path / "l" / "model").exists()


def flux_of(pipeline: UsoPipeline) -> FluxPipeline:
    """diffusers' own pipeline around the same parts."""
    parts = ("scheduler", "vae", "text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2", "transformer")
    flux = FluxPipeline(**{name: pipeline.components[name] for name in parts})
    flux.set_progress_bar_config(disable=True)
    return flux


def drawn(flux: FluxPipeline) -> torch.Tensor:
    torch.manual_seed(1)
    prompt = {"prompt_embeds": torch.randn(1, 6, 24), "pooled_prompt_embeds": torch.randn(1, 20)}
    options = {"height": 64, "width": 64, "num_inference_steps": 2, "output_type": "pt"}
    picture: torch.Tensor = flux(**prompt, **options, generator=torch.Generator().manual_seed(0)).images
    return picture


def test_the_lora_of_a_training_is_one_that_diffusers_loads(parts: Path, tmp_path: Path) -> None:
    optimiser = {"lr": 0.05, "warmup": 1}
    code, said = run(write(parts, tmp_path / "l", learn="lora", lora_rank=4, optimiser=optimiser))
    assert code == 0, said
    trained, plain = load_uso(str(parts / "base")), load_uso(str(parts / "base"))
    load_official(tmp_path / "l" / "uso", transformer=trained.transformer, projector=trained.projector)
    flux = flux_of(plain)
    untrained = drawn(flux)
    flux.load_lora_weights(str(tmp_path / "l" / "lora"))
    ours = drawn(flux_of(trained))
    assert torch.allclose(drawn(flux), ours, atol=1e-5) and not torch.allclose(untrained, ours, atol=1e-3)


def test_style_alignment_moves_the_projector_alone(parts: Path, tmp_path: Path) -> None:
    optimiser = {"lr": 0.01, "warmup": 1, "ema": 0.9}
    assert run(write(parts, tmp_path / "s", stage="style_alignment", optimiser=optimiser))[0] == 0
    before, after = load_uso(str(parts / "base")), load_uso(str(tmp_path / "s" / "model"))
    assert torch.equal(before.transformer.proj_out.weight, after.transformer.proj_out.weight)
    assert not torch.equal(before.projector.high_projection.weight, after.projector.high_projection.weight)


def test_style_alignment_writes_the_projector_at_each_save_and_the_pipeline_at_the_end(
    parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the last checkpoint and the pipeline, the next call writes it; `best/` has the projector alone."""
    path = write(parts, tmp_path / "s", stage="style_alignment", samples={"count": 0}, keep_last=2,
                 validation={"every": 2, "split": "train", "count": 3, "pictures": 0})
    out, written = tmp_path / "s", []
    save = UsoPipeline.save_pretrained

    def dying(pipeline: UsoPipeline, folder: Path, **options: object) -> None:
        written.append((out / "projector" / "diffusion_pytorch_model.safetensors").read_bytes())
        if len(written) == 1:
            raise KeyboardInterrupt
        save(pipeline, folder, **options)

    monkeypatch.setattr(UsoPipeline, "save_pretrained", dying)
    run(path)
    assert len(written) == 1 and not (out / "model").exists()
    assert torch.load(out / "checkpoint.pt", weights_only=True)["step"] == 4
    code, said = run(path)
    assert code == 0 and len(written) == 2, said
    whole = load_uso(str(out / "model"))
    assert (out / "model" / "projector" / "diffusion_pytorch_model.safetensors").read_bytes() == written[1]
    assert not torch.equal(whole.projector.high_projection.weight, load_uso(
        str(parts / "base")).projector.high_projection.weight)
    assert (out / "best" / "projector" / "config.json").is_file() and not (out / "best" / "model").exists()


def test_a_base_of_flux_and_siglip_is_put_together_with_a_new_projector(parts: Path, tmp_path: Path) -> None:
    values = preset_parts.uso(tmp_path)
    flux = FluxPipeline.from_pretrained(values["model"])
    base = {"preset": "uso", **values, "uso": None}
    options = {"base": base, "stage": "style_alignment", "seed": 3, "optimiser": {"lr": 1e-6, "warmup": 1}}
    made = []
    for name in ("one", "two"):
        code, said = run(write(parts, tmp_path / name, **options))
        assert code == 0, said
        made.append(load_uso(str(tmp_path / name / "model")))
    assert run(tmp_path / "one.yaml")[0] == 0  # has ended, and knows its base again
    assert made[0].config.shift == "released" and made[0].config.max_text_tokens == 128
    state = made[0].transformer.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in flux.transformer.state_dict().items())
    one, two = (each.projector.state_dict() for each in made)
    assert one["high_projection.weight"].std() > 0.01 and all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base": {"preset": "uso"}}, "say uso: null"),
        ({"base": {"preset": "flux1-kontext", "uso": None, "model": "nowhere"}}, "nowhere"),
        ({"base": {"preset": "usso"}}, "no preset 'usso'"),
        ({"stage": "alignment"}, "stage"),
        ({"step": 4}, "did you mean 'steps'"),
        ({"base": "nowhere/at/all"}, "nowhere/at/all"),
        ({"base": "shards"}, "there is no pipeline in this folder"),
        ({"samples": {"split": "val"}}, "set their `split: train`"),
        ({"device": "cuda"}, "torch sees no GPU"),
        ({"cache": "s3://bucket/cache"}, "not to a bucket"),
    ],
)
def test_wrong_configs_are_refused(
    parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, object], message: str
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)  # no waiting for a hub
    if changes.get("device") == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    monkeypatch.chdir(parts)
    code, said = run(write(parts, tmp_path / "w", **changes))
    assert code != 0 and message in said


def test_a_bucket_is_no_place_for_a_training(parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, said = run(write(parts, tmp_path / "w"), "--set", "out=s3://bucket/run")
    assert code != 0 and "out: a training writes to a disk, not to a bucket" in said.replace("Value error, ", "")
    assert [path.name for path in tmp_path.iterdir()] == ["w.yaml"]


def test_a_training_that_ended_before_says_so(parts: Path, tmp_path: Path) -> None:
    path = write(parts, tmp_path / "e", samples={"count": 0})
    assert "step 4 of 4, loss " in run(path)[1]
    code, said = run(path)
    assert code == 0 and "step 4 of 4, ended before" in said and "nan" not in said


def test_a_model_is_refused_until_it_is_whole(parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full, or the process killed, between the parts of a model that is written over an older one."""
    path, model = write(parts, tmp_path / "m", save_every=2), tmp_path / "m" / "model"

    def full(*_: object, **__: object) -> None:
        if (model / "transformer").is_dir():
            raise SafetensorError("No space left on device")
        save(*_, **__)  # type: ignore[arg-type]

    save = FluxTransformer2DModel.save_pretrained
    monkeypatch.setattr(FluxTransformer2DModel, "save_pretrained", full)
    code, said = run(path)
    assert code != 0 and f"{model}: cannot be written: No space left on device; is the disk full?" in said
    with pytest.raises(ModelError, match="there is no pipeline in this folder"):
        load_uso(str(model))
    monkeypatch.setattr(FluxTransformer2DModel, "save_pretrained", save)
    assert run(path)[0] == 0 and load_uso(str(model))


@pytest.mark.parametrize("name", ["uso_flux_stage1", "uso_flux_stage2"])
def test_the_full_size_configs_are_the_papers(name: str) -> None:
    path = Path(__file__).parents[1] / "configs" / "train" / f"{name}.yaml"
    values, lines = load_yaml(path)
    config = parse(TrainConfig, values, file=path, lines=lines)
    first = name.endswith("1")
    if first:
        assert not isinstance(config.base, str) and config.base.model == "black-forest-labs/FLUX.1-dev"
        assert config.base.components.keys() == {"vision_encoder", "vision_processor", "projector"}
        assert config.base.settings["shift"] == config.flow.shift
    assert config.batch * config.accumulate == (16 if first else 64)
    assert (config.steps, config.data.size_px) == ((23_000, 768) if first else (21_000, 1024))
    assert config.optimiser.lr == 8e-5 and config.reward is not None
    assert config.reward.start_step == (16_000 if first else 18_000)
    assert path.read_text().startswith("# USO at FLUX.1-dev size")
