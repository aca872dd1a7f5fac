"""curate generate: pictures from all that MODEL may be, references as trainings see them, refusals in one line."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import pytest
import torch
import yaml
from diffusers import AutoencoderKL
from PIL import Image
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner, Result

from curate.cli import app
from curate.errors import CurateError
from curate.images import Uint8Array, encode
from curate.train.generating import dtype_on
from curate.train.loading import load_uso
from pipelines.uso.official import add_lora, load_official, save_official
from tests import preset_parts
from tests.tiny_uso import tiny_projector, tiny_transformer, tiny_uso

ORIENTATION = 0x0112


@dataclass
class Parts:
    """folder: base/ (a whole pipeline), flux/ (FLUX.1 dev as published), siglip/, released/ and other/ (USO's files);
    values: what puts flux, siglip and released together over the preset `uso`."""

    folder: Path
    values: preset_parts.Values

    def place(self, name: str) -> str:
        return str(self.folder / name)

    def expert(self, path: Path, **changes: Any) -> str:
        """The YAML of an expert at `path`."""
        path.write_text(yaml.safe_dump({"preset": "uso", **self.values, **changes}))
        return str(path)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    folder = tmp_path_factory.mktemp("parts")
    tiny_uso().save_pretrained(folder / "base")
    values = preset_parts.uso(folder)
    values["settings"] = {**values["settings"], "size_px": 64}
    transformer = tiny_transformer()
    add_lora(transformer, rank=2)
    save_official(folder / "other", transformer=transformer, projector=tiny_projector())
    return Parts(folder, values)


def generate(model: str, out: Path, *options: str) -> Result:
    return CliRunner().invoke(app, ["generate", model, "--out", str(out), *options])


def drawn(model: str, out: Path, *options: str, steps: int | None = 2) -> Uint8Array:
    """Pixels of the picture of seed 0."""
    done = generate(model, out, *options, *([] if steps is None else ["--steps", str(steps)]))
    assert done.exit_code == 0, done.output + str(done.exception)
    with Image.open(out / "seed-0.png") as picture:
        return np.asarray(picture)


def refusal(model: str, out: Path, *options: str) -> str:
    """The one line that the command ends in; nothing has been written."""
    done = generate(model, out, *options)
    assert isinstance(done.exception, CurateError), done.exception
    said = str(done.exception)
    assert "\n" not in said and not out.exists()
    return said


def references(folder: Path) -> list[str]:
    preset_parts.picture(1).save(folder / "content.png")
    preset_parts.picture(2).save(folder / "style.png")
    return ["--content", str(folder / "content.png"), "--style", str(folder / "style.png")]


# ---- what MODEL may be


def test_a_picture_for_each_seed_from_a_base_and_from_base_and_released_files(parts: Parts, tmp_path: Path) -> None:
    options = [*references(tmp_path), "--prompt", "a red tent", "--seed", "3", "--seed", "4", "--steps", "2"]
    made = {}
    for name, extra in (("base", []), ("uso", ["--uso", parts.place("released")])):
        done = generate(parts.place("base"), tmp_path / name, *options, *extra)
        assert done.exit_code == 0, done.exception
        assert done.output.split() == [str(tmp_path / name / f"seed-{seed}.png") for seed in (3, 4)]
        for seed in (3, 4):
            with Image.open(tmp_path / name / f"seed-{seed}.png") as picture:
                made[name, seed] = np.asarray(picture)
    assert made["base", 3].shape == (64, 64, 3)
    assert len({picture.tobytes() for picture in made.values()}) == 4


def test_an_experts_yaml_draws_as_the_expert_does_with_its_released_files(parts: Parts, tmp_path: Path) -> None:
    made = drawn(parts.expert(tmp_path / "mine.yaml"), tmp_path / "out", *references(tmp_path), "--prompt", "a red cat")
    expert: Any = preset_parts.expert_of("uso", parts.values).load("cpu")
    (wanted,) = expert.pipeline(
        "a red cat", preset_parts.picture(1), preset_parts.picture(2), num_inference_steps=2,
        generator=[torch.Generator().manual_seed(0)]).images
    assert np.abs(made.astype(int) - np.asarray(wanted)).max() <= 1


def test_released_files_that_are_given_go_before_an_experts_own(parts: Parts, tmp_path: Path) -> None:
    given = references(tmp_path)
    own = drawn(parts.expert(tmp_path / "own.yaml"), tmp_path / "own", *given)
    others = [
        drawn(parts.expert(tmp_path / "a.yaml"), tmp_path / "a", *given, "--uso", parts.place("other")),
        drawn(parts.expert(tmp_path / "b.yaml", uso={"model": parts.place("other"), "subfolder": None}),
              tmp_path / "b", *given),
        drawn(parts.expert(tmp_path / "c.yaml", uso=None), tmp_path / "c", *given, "--uso", parts.place("other")),
    ]
    assert all(np.array_equal(other, others[0]) for other in others)
    assert not np.array_equal(own, others[0])


def test_steps_and_guidance_are_the_experts_where_they_are_not_given(parts: Parts, tmp_path: Path) -> None:
    config = parts.expert(tmp_path / "e.yaml", steps=3, guidance=8.0)
    made = drawn(config, tmp_path / "out", steps=None)
    assert np.array_equal(made, drawn(config, tmp_path / "out", "--guidance", "8", steps=3))
    for options, steps in (([], 1), (["--guidance", "1"], 3)):
        assert not np.array_equal(made, drawn(config, tmp_path / "out", *options, steps=steps))


def test_a_presets_name_is_the_preset_unless_a_pipeline_lies_there(
    parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    Path("uso").mkdir()
    assert refusal("uso", tmp_path / "out").startswith("black-forest-labs/FLUX.1-dev: not a pipeline that can be")
    shutil.copytree(parts.place("base"), "uso", dirs_exist_ok=True)
    drawn("uso", tmp_path / "out")


def test_a_shared_encoder_takes_style_images_without_a_projector(tmp_path: Path) -> None:
    tiny_uso(projector=None, style_encoding="vae").save_pretrained(tmp_path / "shared")
    given = references(tmp_path)
    with_style, without = (drawn(str(tmp_path / "shared"), tmp_path / "out", *few) for few in (given, given[:2]))
    assert not np.array_equal(with_style, without)


# ---- references


@pytest.mark.parametrize("role", ["--content", "--style"])
def test_what_is_transparent_is_white(parts: Parts, tmp_path: Path, role: str) -> None:
    pixels = np.asarray(preset_parts.picture(3)).copy()
    alpha = np.full((64, 64), 255, np.uint8)
    alpha[:48] = 0
    alpha[48:52] = 128
    share = alpha[..., None] / 255
    for name, ground in (("white", 255), ("black", 0)):
        laid = np.rint(pixels * share + ground * (1 - share)).astype(np.uint8)
        Image.fromarray(laid).save(tmp_path / f"{name}.png")
    Image.fromarray(np.dstack([pixels, alpha])).save(tmp_path / "clear.png")
    white, black, clear = (
        drawn(parts.expert(tmp_path / "e.yaml"), tmp_path / "out", role, str(tmp_path / f"{name}.png"))
        for name in ("white", "black", "clear"))
    assert np.array_equal(clear, white) and not np.array_equal(clear, black)


@pytest.mark.parametrize("role", ["--content", "--style"])
def test_photographs_stand_upright(parts: Parts, tmp_path: Path, role: str) -> None:
    lying = preset_parts.picture(3).resize((96, 64))
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # to be turned by 90 degrees, clockwise
    lying.save(tmp_path / "turned.jpg", exif=exif)
    with Image.open(tmp_path / "turned.jpg") as stored:
        stored.transpose(Image.Transpose.ROTATE_270).save(tmp_path / "upright.png")
        Image.fromarray(np.asarray(stored)).save(tmp_path / "lying.png")
    turned, upright, lying_too = (
        drawn(parts.expert(tmp_path / "e.yaml"), tmp_path / "out", role, str(tmp_path / name))
        for name in ("turned.jpg", "upright.png", "lying.png"))
    assert np.array_equal(turned, upright) and not np.array_equal(turned, lying_too)
    assert turned.shape == ((80, 48, 3) if role == "--content" else (64, 64, 3))


@pytest.mark.parametrize(
    ("data", "message"),
    [(None, "cannot be read: No such file"), (b"", "empty: 0 bytes"), (b"a text", "not an image: 6 bytes"),
     (encode(preset_parts.picture(1))[:200], "damaged: ")],
)
@pytest.mark.parametrize("role", ["--content", "--style"])
def test_an_image_that_cannot_be_opened_is_named(
    parts: Parts, tmp_path: Path, role: str, data: bytes | None, message: str
) -> None:
    file = tmp_path / "given.png"
    if data is not None:
        file.write_bytes(data)
    assert refusal(parts.place("base"), tmp_path / "out", role, str(file)).startswith(f"{file}: {message}")


# ---- sizes, guidance, precision


@pytest.mark.parametrize(
    ("options", "size"),
    [([], (64, 64)), (["--content", "wide.png"], (80, 48)), (["--content", "wide.png", "--size", "48x96"], (48, 96))],
)
def test_pictures_have_the_size_asked_for_or_the_shape_of_the_content(
    parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], size: tuple[int, int]
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (192, 128), "red").save("wide.png")
    height, width, _ = drawn(parts.place("base"), tmp_path / "out", *options).shape
    assert (width, height) == size


@pytest.mark.parametrize(
    ("size", "message"), [("100x64", "multiples of 16 px for this model; the nearest is 96x64"), ("64", "WIDTHxHEIGHT")]
)
def test_sizes_that_cannot_be_drawn_are_refused(parts: Parts, tmp_path: Path, size: str, message: str) -> None:
    assert message in refusal(parts.place("base"), tmp_path / "out", "--size", size)


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--size", "64X64"], "WIDTHxHEIGHT"), (["--seed", str(2**64)], "a seed has 64 bits"),
     (["--out", "file"], "file is a file; choose another --out"), (["--out", "file/deep"], "file is a file")],
)
def test_what_is_wrong_whatever_the_model_is_said_before_it_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], message: str
) -> None:
    """There is no model."""
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")
    assert message in refusal("nowhere/at/all", tmp_path / "out", *options)


def test_a_bucket_is_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["generate", "nowhere/at/all", "--out", "s3://bucket/pictures"])
    assert done.exit_code == 2 and "not to a bucket" in done.output and not list(tmp_path.iterdir())


def test_a_seed_that_is_given_twice_is_drawn_once(parts: Parts, tmp_path: Path) -> None:
    done = generate(parts.place("base"), tmp_path / "out", "--seed", "3", "--seed", "3", "--steps", "1")
    assert done.output.split() == [str(tmp_path / "out" / "seed-3.png")]


def test_guidance_reaches_the_model(parts: Parts, tmp_path: Path) -> None:
    low, high = (drawn(parts.place("base"), tmp_path, "--guidance", guidance) for guidance in ("1.0", "8.0"))
    assert not np.array_equal(low, high)


def test_a_model_in_bfloat16_draws_what_it_draws_in_float32(parts: Parts) -> None:
    """As `curate generate` has it on a GPU, with content, style and the released files."""
    made = {}
    for dtype in (getattr(torch, dtype_on(device)) for device in ("cuda", "cpu")):
        pipeline = load_uso(parts.place("base"), dtype)
        load_official(parts.folder / "other", transformer=pipeline.transformer, projector=pipeline.projector)
        assert {each.dtype for part in (pipeline.denoiser, pipeline.vae) for each in part.parameters()} == {dtype}
        content, style = Image.new("RGB", (64, 64), "red"), Image.new("RGB", (64, 64), "blue")
        made[dtype] = pipeline("a red tent", content, style, num_inference_steps=2, output_type="pt",
                               generator=torch.Generator().manual_seed(0)).images
    half, full = made[torch.bfloat16], made[torch.float32]
    assert (half - full).abs().mean() < 0.02 < full.std()


# ---- what does not go together


@pytest.mark.parametrize(
    ("options", "lacking"),
    [(["--uso", "released"], "has no projector to load, which USO's released files need"),
     (["--style", "style.png"], "has no vision_encoder, vision_processor, projector to load, which style images need"),
     (["--uso", "released", "--style", "style.png"], "has no vision_encoder, vision_processor, projector to load")],
)
def test_a_base_that_lacks_a_part_is_refused_before_its_weights_are_loaded(
    parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], lacking: str
) -> None:
    """FLUX.1 dev has neither encoder nor projector. Here it has no weights either, so nothing was loaded."""
    monkeypatch.chdir(tmp_path)
    Path("flux").mkdir()
    shutil.copy(parts.folder / "flux" / "model_index.json", "flux")
    shutil.copytree(parts.place("released"), "released")
    references(tmp_path)
    said = refusal("flux", tmp_path / "out", *options)
    assert said.startswith(f"flux: {lacking}") and said.endswith("preset: uso, model: flux")


def test_the_same_base_draws_from_contents(parts: Parts, tmp_path: Path) -> None:
    drawn(parts.place("flux"), tmp_path / "out", *references(tmp_path)[:2], "--size", "64x64")


def test_experts_that_cannot_draw_here_are_refused(
    parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    style = references(tmp_path)[2:]
    file = tmp_path / "e.yaml"
    for changes, options, message in (
        ({"pipeline": None}, [], "a FluxPipeline, and only a UsoPipeline can draw here"),
        ({"uso": None}, style, "has no projector to load"),  # it would be a new one, of random weights
        ({"components": {"vision_encoder": None}}, style, "has no vision_encoder to load"),
        ({"uso": {"model": "no/such", "subfolder": None}}, [], "no/such: cannot be had from the hub"),
        ({"uso": {"model": parts.place("siglip"), "subfolder": None}}, [],
         "it has no dit_lora.safetensors and no projector.safetensors"),
        ({}, ["--uso", "nowhere"], "nowhere: no folder of USO's released files"),
        ({"model": "no/such"}, [], "no/such: not a pipeline that can be loaded"),
    ):
        assert message in refusal(parts.expert(file, **changes), tmp_path / "out", *options)
    file.write_text("model: here\nstep: 3\n")
    assert refusal(str(file), tmp_path / "out").startswith(f"{file}:2: step: unknown key; did you mean 'steps'?")
    assert "no.yaml: cannot be read: No such file" in refusal(str(tmp_path / "no.yaml"), tmp_path / "out")


def test_a_place_that_is_no_pipelines_says_what_lies_there(parts: Parts, tmp_path: Path) -> None:
    shutil.copytree(parts.place("base"), tmp_path / "full" / "model")
    shutil.copytree(parts.place("released"), tmp_path / "lora" / "uso")
    (tmp_path / "empty").mkdir()
    places = ("full", "lora", "lora/uso", "empty", "no")
    said = {name: refusal(str(tmp_path / name), tmp_path / "out") for name in places}
    assert said["full"].endswith(f"did you mean {tmp_path / 'full' / 'model'}?")
    assert f"{tmp_path / 'lora' / 'uso'} has the files of USO's released format" in said["lora"]
    assert said["lora"].split("; ")[1] == said["lora/uso"].split("; ")[1]
    assert said["empty"].endswith("no pipeline in this folder (no model_index.json)")
    assert said["no"].endswith("there is no such folder, and it is no hub id (owner/name)")


def test_what_is_no_number_is_no_picture(parts: Parts, tmp_path: Path) -> None:
    pipeline = tiny_uso()
    pipeline.transformer.proj_out.bias.data.fill_(torch.nan)
    pipeline.save_pretrained(tmp_path / "broken")
    said = refusal(str(tmp_path / "broken"), tmp_path / "out")
    assert said.endswith("cannot draw this: a picture has pixels that are not numbers")
    shutil.copytree(parts.place("released"), tmp_path / "released")
    file = tmp_path / "released" / "dit_lora.safetensors"
    lora = load_file(file)
    name = sorted(lora)[0]
    save_file({**lora, name: torch.full_like(lora[name], torch.nan)}, file)
    said = refusal(parts.place("base"), tmp_path / "out", "--uso", str(tmp_path / "released"))
    assert said == f"{file}: {name} holds what is no number, in 1 of {len(lora)} tensors"


def test_what_the_pipeline_refuses_while_it_draws_is_one_line(tmp_path: Path) -> None:
    """A content of 48 px makes 3 latent pixels with an autoencoder that halves its sides four times."""
    pipeline = tiny_uso()
    coarse = {**pipeline.vae.config, "block_out_channels": (4, 4, 8, 8, 8),
              "down_block_types": ("DownEncoderBlock2D",) * 5, "up_block_types": ("UpDecoderBlock2D",) * 5}
    pipeline.register_modules(vae=AutoencoderKL.from_config(coarse))
    pipeline.save_pretrained(tmp_path / "coarse")
    Image.new("RGB", (64, 48), "red").save(tmp_path / "content.png")
    options = ["--size", "64x64", "--content", str(tmp_path / "content.png")]
    said = refusal(str(tmp_path / "coarse"), tmp_path / "out", *options)
    assert said == f"{tmp_path / 'coarse'}: cannot draw this: latents of 3 x 4 cannot be packed: both must be even"
