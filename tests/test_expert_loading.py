"""Loading experts: shared pipelines, pickles, commits, adapters that do not fit, speed options."""

from __future__ import annotations

import gc
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import pytest
import safetensors.torch
import torch
from diffusers import DiffusionPipeline, Flux2KleinPipeline, FluxKontextPipeline
from diffusers.models.attention_dispatch import _AttentionBackendRegistry
from PIL import Image

from curate.config import ResourcesConfig
from curate.engine.batches import Batch, Refusal
from curate.errors import ConfigError, ModelError
from curate.interfaces import Expert
from curate.models import commit_of, pinned
from filters.aesthetic import AestheticScorer
from filters.cas import CasScorer
from filters.clip import ClipScorer
from filters.csd import CsdScorer
from filters.dino import DinoScorer
from filters.nsfw import NsfwScorer
from filters.phash import PhashScorer
from filters.vlm import ServerConfig, VlmScorer
from pipelines.diffusers_expert import DiffusersExpert
from pipelines.editors import loading
from pipelines.editors.control import control_image
from pipelines.editors.loading import LOADED
from pipelines.editors.options import ControlInput, SizeRule, Speed
from pipelines.editors.presets import with_preset
from pipelines.editors.prompts import prompt_of
from tests.preset_parts import PRESETS, PX, Values, expert_of, picture, request
from tests.tiny_pipelines import save_instruct_pix2pix

COMMIT, LATER = "a" * 40, "b" * 40


@pytest.fixture(scope="module")
def kontext(tmp_path_factory: pytest.TempPathFactory) -> Values:
    return PRESETS["flux1-kontext"](tmp_path_factory.mktemp("kontext"))


@pytest.fixture(scope="module")
def edit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_instruct_pix2pix(tmp_path_factory.mktemp("edit") / "pipeline")


def pixels(expert: Expert, *requests: Any) -> list[np.ndarray]:
    return [np.asarray(image).astype(int) for image in expert(list(requests))]


def test_experts_with_one_model_share_it_and_let_it_go(kontext: Values) -> None:
    stylize, destylize = (expert_of("flux1-kontext", kontext, steps=steps).load("cpu") for steps in (2, 3))
    assert stylize.pipeline is destylize.pipeline  # type: ignore[attr-defined]
    other = expert_of("flux1-kontext", kontext, dtype="bfloat16").load("cpu")
    assert other.pipeline is not stylize.pipeline  # type: ignore[attr-defined]
    del stylize, destylize, other
    gc.collect()
    assert not LOADED


def test_a_cached_prompt_is_encoded_once_and_changes_nothing(kontext: Values, monkeypatch: pytest.MonkeyPatch) -> None:
    cached = expert_of("flux1-kontext", kontext).load("cpu")
    plain = expert_of("flux1-kontext", kontext, embeddings=[]).load("cpu")
    calls: list[str] = []
    encode = FluxKontextPipeline.encode_prompt

    def counting(self: Any, prompt: Any = None, **named: Any) -> Any:
        if prompt is not None:
            calls.append(prompt)
        return encode(self, prompt=prompt, **named)

    monkeypatch.setattr(FluxKontextPipeline, "encode_prompt", counting)
    first, again, other = pixels(cached, request(), request(seed=5), request(prompt="two dogs"))
    assert len(calls) == 2 and np.array_equal(first, again)
    for made, wanted in ((first, request()), (other, request(prompt="two dogs"))):
        assert np.abs(made - pixels(plain, wanted)[0]).max() <= 2  # batch size moves the last bits


def test_out_of_memory_in_a_component_halves_the_batch_and_is_remembered(kontext: Values) -> None:
    expert = expert_of("flux1-kontext", kontext).load("cpu")
    sizes: list[int] = []
    holds = 2

    def narrow(module: torch.nn.Module, given: Any, named: Any) -> None:
        sizes.append(len(named["hidden_states"]))
        if sizes[-1] > holds:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    requests = [request(content=seed, seed=seed) for seed in range(5)]
    alone = [pixels(expert, one)[0] for one in requests]
    transformer = expert.pipeline.transformer  # type: ignore[attr-defined]
    with transformer.register_forward_pre_hook(narrow, with_kwargs=True):  # a handle is a context: it ends with it
        batch = Batch(expert)
        made = batch.run(requests)
        assert batch.fits == 2 and sizes == [5, 3, 2, 2, 2, 2, 1, 1]  # two steps each
        for image, wanted in zip(made, alone, strict=True):
            assert isinstance(image, Image.Image)
            assert np.abs(np.asarray(image).astype(int) - wanted).max() <= 2
        sizes.clear()
        batch.run(requests[:3])
        assert sizes == [2, 2, 1, 1]
        holds = 0
        (refused,) = Batch(expert).run(requests[:1])
        assert isinstance(refused, Refusal) and "OutOfMemoryError" in refused.reason


def test_pickled_weights_are_refused_unless_they_are_named(edit: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pickled"
    shutil.copytree(edit, folder)
    weights = folder / "vae" / "diffusion_pytorch_model.safetensors"
    torch.save(safetensors.torch.load_file(weights), weights.with_suffix(".bin"))
    weights.unlink()
    name = "vae/diffusion_pytorch_model.bin"
    with pytest.raises(ModelError):
        DiffusersExpert(model=str(folder)).load("cpu")
    with pytest.raises(ModelError, match=name):
        DiffusersExpert(model=str(folder), pickles=("unet/other.bin",)).load("cpu")
    values: Values = {"images": {"content": "image", "style": None}, "steps": 2}
    opened, safe = (DiffusersExpert.model_validate({**values, **given}).load("cpu") for given in (
        {"model": str(folder), "pickles": (name,)}, {"model": str(edit)}))
    assert np.array_equal(pixels(opened, request(style=None))[0], pixels(safe, request(style=None))[0])


def test_a_pickle_that_runs_code_is_not_opened(edit: Path, tmp_path: Path) -> None:
    folder, trace = tmp_path / "evil", tmp_path / "ran"
    shutil.copytree(edit, folder)

    class Evil:
        def __reduce__(self) -> Any:
            return Path.touch, (trace,)

    weights = folder / "vae" / "diffusion_pytorch_model.safetensors"
    torch.save({"weight": Evil()}, weights.with_suffix(".bin"))
    weights.unlink()
    with pytest.raises(ModelError):
        DiffusersExpert(model=str(folder), pickles=("vae/diffusion_pytorch_model.bin",)).load("cpu")
    assert not trace.exists()


def test_code_from_a_model_folder_is_not_run(edit: Path, tmp_path: Path) -> None:
    folder, trace = tmp_path / "coded", tmp_path / "ran"
    shutil.copytree(edit, folder)
    index = folder / "model_index.json"
    index.write_text(index.read_text().replace('"_class_name": "StableDiffusionInstructPix2PixPipeline"',
                                               '"_class_name": ["pipeline", "Mine"]'))
    (folder / "pipeline.py").write_text(f"open({str(trace)!r}, 'w')\n")
    with pytest.raises(ModelError):
        DiffusersExpert(model=str(folder)).load("cpu")
    assert not trace.exists()


def hub_cache(root: Path, name: str, commit: str) -> None:
    """huggingface_hub's cache layout with a main branch at a commit."""
    refs = root / f"models--{name.replace('/', '--')}" / "refs"
    refs.mkdir(parents=True, exist_ok=True)
    (refs / "main").write_text(commit)


def test_hub_ids_are_pinned_to_commits_and_the_commit_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    commit_of.cache_clear()
    names = ("stabilityai/stable-diffusion-xl-base-1.0", "xinsir/controlnet-canny-sdxl-1.0", "h94/IP-Adapter",
             "someone/few-steps")
    for name in names:
        hub_cache(tmp_path, name, COMMIT)
    loras = [{"model": names[3], "file": "few.safetensors"}]
    expert = pinned(expert_of("sdxl-ip-adapter", {"loras": loras}))
    controlnet = expert.components["controlnet"].weights
    assert expert.revision == COMMIT and expert.ip_adapter and expert.ip_adapter.revision == COMMIT
    assert controlnet and controlnet.revision == COMMIT
    assert expert.loras[0].revision == commit_of(f"{names[3]}/deep/few.safetensors") == COMMIT
    for later in (names[1], names[3]):
        hub_cache(tmp_path, later, LATER)
        commit_of.cache_clear()
        assert pinned(expert_of("sdxl-ip-adapter", {"loras": loras})).identity() != expert.identity()
        assert pinned(expert).identity() == expert.identity()  # a commit stays
        hub_cache(tmp_path, later, COMMIT)
    commit_of.cache_clear()
    with pytest.raises(ModelError, match="klein-4B: its commit"):
        pinned(expert_of("flux2-klein", {}))
    for path in ("/nowhere/klein", "./models/nowhere/klein"):
        with pytest.raises(ModelError, match="no such folder"):
            pinned(expert_of("flux2-klein", {"model": path}))
    commit_of.cache_clear()


def test_scorers_on_the_hub_are_pinned_and_names_of_other_kinds_left(tmp_path: Path,
                                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    commit_of.cache_clear()
    names = ("facebook/dino-vits16", "facebook/dinov2-base", "Falconsai/nsfw_image_detection", "org/judge", "org/csd")
    for name in names:
        hub_cache(tmp_path, name, COMMIT)
    for on_hub in (DinoScorer(), CasScorer(), NsfwScorer(), VlmScorer(model="org/judge"),
                   CsdScorer(model="org/csd/pytorch_model.bin")):
        assert pinned(on_hub).revision == COMMIT and pinned(on_hub).identity() != on_hub.identity()
    server = ServerConfig(url="http://judge:8000/v1")
    others = (ClipScorer(model="ViT-L-14/openai"), ClipScorer(model="hf-hub:org/clip"), AestheticScorer(), DinoScorer(
        model="zoo:csd"), CsdScorer(), PhashScorer(),
        VlmScorer(model="org/unknown", server=server, resources=ResourcesConfig(replicas=1)))
    assert all(pinned(other) == other for other in others)
    with pytest.raises(ModelError, match="org/unknown: its commit"):
        pinned(DinoScorer(model="org/unknown"))
    commit_of.cache_clear()


def test_offline_mode_loads_a_pinned_model_from_the_cache(edit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                          ) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    hub_cache(tmp_path, "someone/edit", COMMIT)
    shutil.copytree(edit, tmp_path / "models--someone--edit" / "snapshots" / COMMIT)
    commit_of.cache_clear()
    expert = pinned(DiffusersExpert.model_validate({"model": "someone/edit", "steps": 2,
                                                    "images": {"content": "image", "style": None}}))
    commit_of.cache_clear()
    assert expert.load("cpu")([request(style=None)])[0].size == (PX, PX)


def test_what_does_not_fit_a_pipeline_is_named(kontext: Values, tmp_path: Path) -> None:
    lora = {"model": str(tmp_path), "file": "style.safetensors"}
    safetensors.torch.save_file({"nothing.lora_A.weight": torch.zeros(1, 1)}, tmp_path / "style.safetensors")
    for changes, named in (
            ({"pipeline": "os"}, "os is not a pipeline"), ({"settings": {"trust_remote_code": True}}, "trust_remote"),
            ({"components": {"vae": {"type": "Path", "init": {}}}}, "Path is not a class"),
            ({"embeddings": ["prompt_embed"]}, "prompt_embed"), ({"loras": [lora]}, "style.safetensors"),
            ({"loras": [{**lora, "file": "style.bin"}]}, "is a pickle"),
            ({"speed": {"attention": "telepathy"}}, "telepathy"),
            ({"quantization": {"unet": {"method": "torchao", "options": {}}}}, "no such component; it has")):
        with pytest.raises(ModelError, match=named):
            expert_of("flux1-kontext", kontext, **changes).load("cpu")
    with pytest.raises(ConfigError, match="only field is"):
        expert_of("flux1-kontext", kontext, prompts={"stylize": "{subject}"})
    with pytest.raises(ConfigError, match="there are: flux1-kontext"):
        expert_of("flux3", kontext)


def test_a_lora_acts_by_its_scale(tmp_path: Path) -> None:
    values = PRESETS["flux2-klein"](tmp_path)
    torch.manual_seed(0)
    layer = "transformer.transformer_blocks.0.attn.to_q"
    state = {f"{layer}.lora_A.weight": torch.randn(2, 32), f"{layer}.lora_B.weight": torch.randn(32, 2)}
    Flux2KleinPipeline.save_lora_weights(
        tmp_path / "lora", transformer_lora_layers={k.removeprefix("transformer."): v for k, v in state.items()})
    lora = {"model": str(tmp_path / "lora"), "file": "pytorch_lora_weights.safetensors"}
    plain, full, none = (pixels(expert_of("flux2-klein", values, **changes).load("cpu"), request())[0] for changes in (
        {}, {"loras": [lora]}, {"loras": [{**lora, "scale": 0.0}]}))
    assert (plain != full).mean() > 0.02 and np.abs(plain - none).max() <= 2


def test_an_attention_backend_changes_no_more_than_rounding(kontext: Values) -> None:
    alone = expert_of("flux1-kontext", kontext).load("cpu")
    plain = pixels(alone, request())[0]
    other = expert_of("flux1-kontext", kontext, offload="model",  # on a CPU there is nothing to move
                      speed={"attention": "_native_math"}).load("cpu")
    assert np.abs(plain - pixels(other, request())[0]).max() <= 2
    processors = other.pipeline.transformer.attn_processors.values()  # type: ignore[attr-defined]
    assert {each._attention_backend.value for each in processors} == {"_native_math"}
    assert _AttentionBackendRegistry.get_active_backend()[0].value == "native"  # other models keep theirs
    assert np.array_equal(plain, pixels(alone, request())[0])
    tiled = expert_of("flux1-kontext", kontext, speed={"vae_tiling": True}).load("cpu")
    assert tiled.pipeline.vae.use_tiling  # type: ignore[attr-defined]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["blocks", "whole"])
def test_a_compiled_denoiser_draws_the_same(kontext: Values, how: str) -> None:
    plain = pixels(expert_of("flux1-kontext", kontext).load("cpu"), request())[0]
    compiled = pixels(expert_of("flux1-kontext", kontext, speed={"compile": how}).load("cpu"), request())[0]
    assert np.abs(plain - compiled).max() <= 3


def test_uso_cannot_be_compiled_as_a_whole_and_says_what_can(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="compile: blocks"):
        expert_of("uso", PRESETS["uso"](tmp_path), speed={"compile": "whole"}).load("cpu")


@pytest.mark.parametrize("kind", ["Int8WeightOnlyConfig", "Float8WeightOnlyConfig"])
def test_quantised_parts_load_and_draw_alike(kontext: Values, kind: str) -> None:
    pytest.importorskip("torchao", reason="diffusers imports it wherever it is installed: not part of the environment")
    weights = {"method": "torchao", "options": {"type": kind}}
    plain = pixels(expert_of("flux1-kontext", kontext).load("cpu"), request())[0]
    both = {"transformer": weights, "text_encoder_2": weights}
    quantised = expert_of("flux1-kontext", kontext, quantization=both).load("cpu")
    for part in (quantised.pipeline.transformer, quantised.pipeline.text_encoder_2):  # type: ignore[attr-defined]
        assert any(type(parameter.data) is not torch.Tensor for parameter in part.parameters())
    assert 0 < np.abs(plain - pixels(quantised, request())[0]).mean() < 20


@pytest.mark.skipif(torch.cuda.is_available(), reason="bitsandbytes works here")
def test_quantisation_that_cannot_be_had_here_says_so(kontext: Values) -> None:
    four_bit = {"method": "bitsandbytes", "options": {"load_in_4bit": True}}
    with pytest.raises(ModelError, match=r"bitsandbytes|GPU"):
        expert_of("flux1-kontext", kontext, quantization={"transformer": four_bit}).load("cpu")


def test_sizes_are_rounded_and_results_come_back_at_the_reference_s_size(kontext: Values) -> None:
    assert SizeRule(multiple_of=16).fit((500, 500)) == (496, 496)
    assert SizeRule(multiple_of=64, min_px=1024).fit((512, 768)) == (1024, 1536)
    assert SizeRule(multiple_of=16).fit((4, 4)) == (16, 16)
    odd = request()._replace(content=picture(1).resize((50, 70)))
    assert expert_of("flux1-kontext", kontext).load("cpu")([odd])[0].size == (50, 70)


def test_control_lines_lie_on_the_edges() -> None:
    image = Image.new("RGB", (64, 64), "white")
    image.paste((200, 30, 30), (16, 16, 48, 48))
    for detector in ("canny", "lineart"):
        lines = np.asarray(control_image(ControlInput(detector=detector), image))[..., 0] > 64  # type: ignore[arg-type]
        rows, columns = np.nonzero(lines)
        assert lines.any() and min(rows.min(), columns.min()) >= 12 and max(rows.max(), columns.max()) <= 51
        assert not lines[26:38, 26:38].any()


def test_the_most_special_prompt_template_serves() -> None:
    templates: Any = {"stylize": "s {prompt}", "stylize_words": "w {prompt}", "destylize": "d {prompt}",
                      "destylize_shifted": "ds {prompt}"}
    cases = [(request(), "s a red cat"), (request(layout="shifted"), "s a red cat"),
             (request(content=None), "w a red cat"), (request("destylize", style=None), "d a red cat"),
             (request("destylize", style=None, layout="shifted", prompt=""), "ds it"),
             (request(prompt="{braces}"), "s {braces}"), (request(style=None), "a red cat")]
    assert [prompt_of(asked, templates, "it") for asked, _ in cases] == [words for _, words in cases]


def test_values_over_a_preset_win_mapping_by_mapping() -> None:
    values = with_preset({"preset": "qwen-image-edit", "steps": 8, "arguments": {"true_cfg_scale": 1.0},
                          "prompts": {"stylize": "{prompt}!"}})
    assert values["steps"] == 8 and values["arguments"] == {"true_cfg_scale": 1.0, "negative_prompt": " "}
    assert values["prompts"]["stylize"] == "{prompt}!" and "photograph" in values["prompts"]["destylize"]
    assert values["licence"] == "Qwen-Image-Edit-2511: Apache-2.0"


def test_another_model_does_not_keep_the_licence_of_the_preset() -> None:
    assert "licence" not in with_preset({"preset": "flux2-klein", "model": "black-forest-labs/FLUX.2-klein-9B"})
    given = with_preset({"preset": "flux2-klein", "model": "/models/klein", "licence": "Apache-2.0"})
    assert given["licence"] == "Apache-2.0"


def test_a_pipeline_without_a_denoiser_loads_and_cannot_be_sped_up(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Bare(DiffusionPipeline):  # type: ignore[misc]
        def __init__(self, window_px: int = 5) -> None:
            super().__init__()
            self.register_to_config(window_px=window_px)

    monkeypatch.setattr(loading, "_pipeline_class", lambda name: Bare)
    Bare().save_pretrained(tmp_path)
    config = DiffusersExpert(model=str(tmp_path), settings={"window_px": 7})
    assert loading.load_pipeline(config, "cpu").config.window_px == 7
    with pytest.raises(ModelError, match="speed"):
        loading.load_pipeline(config.model_copy(update={"speed": Speed(compile="whole")}), "cpu")
