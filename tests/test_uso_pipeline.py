"""UsoPipeline: every condition reaches the picture, absent references count as absent, saved and loaded it is equal."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from diffusers import FluxTransformer2DModel
from PIL import Image

from curate.interfaces import ExpertRequest
from pipelines.diffusers_expert import DiffusersExpert
from pipelines.uso.encoders import decode_latents, encode_latents
from pipelines.uso.model import denoise
from pipelines.uso.patch_autoencoder import PatchAutoencoder
from pipelines.uso.pipeline import UsoPipeline
from pipelines.uso.projector import StyleProjector
from pipelines.uso.schedule import shift_mu, shifted
from pipelines.uso.tokens import image_ids, pack, unpack
from tests.tiny_uso import tiny_projector, tiny_transformer, tiny_uso


@pytest.fixture(scope="module")
def uso() -> UsoPipeline:
    return tiny_uso()


def picture(seed: int, size: tuple[int, int] = (64, 64)) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8))


def make(uso: UsoPipeline, *args: Any, seeds: tuple[int, ...] = (1,), **options: Any) -> torch.Tensor:
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    made: torch.Tensor = uso(*args, generator=generators, num_inference_steps=2, output_type="pt", **options).images
    return made


def test_prompt_content_style_seed_and_guidance_each_change_the_picture(uso: UsoPipeline) -> None:
    base = make(uso, "a red tent", picture(0), picture(1))
    assert base.shape == (1, 3, 64, 64)
    torch.testing.assert_close(make(uso, "a red tent", picture(0), picture(1)), base, rtol=0, atol=0)
    others = [
        make(uso, "an old box", picture(0), picture(1)),
        make(uso, "a red tent", picture(2), picture(1)),
        make(uso, "a red tent", picture(0), picture(3)),
        make(uso, "a red tent", picture(0), [[picture(1), picture(3)]]),
        make(uso, "a red tent", None, picture(1)),
        make(uso, "a red tent", picture(0), None),
        make(uso, "a red tent", picture(0), picture(1), guidance_scale=1.0),
        make(uso, "a red tent", picture(0), picture(1), seeds=(2,)),
    ]
    for other in others:
        assert (other - base).abs().max() > 1e-5


def test_the_projector_is_asked_once_a_style_image_and_not_in_every_step() -> None:
    uso, calls = tiny_uso(), []
    uso.projector.register_forward_hook(lambda *_: calls.append(1))
    uso("", picture(0), [[picture(1), picture(2)]], num_inference_steps=3)
    assert len(calls) == 2


def fetches(uso: UsoPipeline) -> set[str]:
    """Names of the parts that model offloading fetches from now on."""
    fetched: set[str] = set()

    def watch(name: str, hook: Any) -> None:
        go = hook.pre_forward

        def fetch(*args: Any, **options: Any) -> Any:
            fetched.add(name)
            return go(*args, **options)

        hook.pre_forward = fetch

    for name, part in uso.components.items():
        if hasattr(part, "_hf_hook"):
            watch(name, part._hf_hook)
    return fetched


@pytest.mark.parametrize("patches", [False, True])
def test_offloading_fetches_every_part_and_changes_nothing(patches: bool) -> None:
    """Onto the CPU, since no other device is sure to be here: parts come and go all the same."""
    alone, offloaded = tiny_uso(), tiny_uso()
    for each in (alone, offloaded) if patches else ():
        torch.manual_seed(0)
        each.register_modules(vae=PatchAutoencoder(latent_channels=alone.vae.config.latent_channels, width=16, depth=1))
    expected = make(alone, "a", picture(0), picture(1))
    offloaded.enable_model_cpu_offload(device="cpu")
    fetched = fetches(offloaded)
    torch.testing.assert_close(make(offloaded, "a", picture(0), picture(1)), expected)
    assert fetched == {"text_encoder", "text_encoder_2", "vision_encoder", "projector", "transformer", "vae"}


@pytest.mark.parametrize("style_encoding", ["vision", "vae"])
def test_a_reference_that_one_picture_of_a_batch_lacks_counts_as_absent(uso: UsoPipeline, style_encoding: str) -> None:
    uso = uso if style_encoding == "vision" else tiny_uso(projector=None, style_encoding="vae")
    contents, styles = [picture(0), None, picture(2)], [None, [picture(3), picture(4)], picture(5)]
    prompts = ["a red tent", "", "an old box"]
    together = make(uso, prompts, contents, styles, seeds=(1, 2, 3))
    for place in range(3):
        alone = make(uso, prompts[place], [contents[place]], [styles[place]], seeds=(place + 1,))
        torch.testing.assert_close(together[place : place + 1], alone, rtol=0, atol=2e-5)


def test_without_style_tokens_denoise_is_the_transformers_own_forward() -> None:
    torch.manual_seed(0)
    transformer = tiny_transformer()
    arguments = (torch.randn(2, 16, 16), torch.randn(2, 6, 24), torch.randn(2, 20), torch.tensor([0.3, 0.9]))
    ids, text_ids = image_ids((8, 8), [], "diagonal"), torch.zeros(6, 3)
    guidance = torch.tensor([1.0, 4.0])
    hidden, text, pooled, sigma = arguments
    expected = transformer(
        hidden_states=hidden, encoder_hidden_states=text, pooled_projections=pooled, timestep=sigma,
        img_ids=ids, txt_ids=text_ids, guidance=guidance, return_dict=False,
    )[0]
    torch.testing.assert_close(denoise(transformer, *arguments, ids, text_ids, guidance), expected, rtol=0, atol=0)


def test_gradient_checkpointing_leaves_gradients_as_they_are() -> None:
    grads = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        transformer, style = tiny_transformer(), torch.randn(1, 4, 32)
        if checkpointing:
            transformer.enable_gradient_checkpointing()
        out = denoise(
            transformer, torch.ones(1, 16, 16), torch.ones(1, 6, 24), torch.ones(1, 20), torch.tensor([0.5]),
            image_ids((8, 8), [], "diagonal"), torch.zeros(6, 3), torch.ones(1), style_tokens=style,
        )
        out.square().sum().backward()
        grads.append(transformer.x_embedder.weight.grad)
    torch.testing.assert_close(grads[0], grads[1])


def test_saved_and_loaded_it_makes_the_same_picture(uso: UsoPipeline, tmp_path: Path) -> None:
    uso.save_pretrained(tmp_path)
    again = UsoPipeline.from_pretrained(tmp_path)
    again.set_progress_bar_config(disable=True)
    assert isinstance(again.projector, StyleProjector) and isinstance(again.transformer, FluxTransformer2DModel)
    assert again.config.content_px == 64
    torch.testing.assert_close(
        make(again, "a red tent", picture(0), picture(1)), make(uso, "a red tent", picture(0), picture(1))
    )


def test_as_an_expert_it_gets_content_style_prompt_and_seed(uso: UsoPipeline, tmp_path: Path) -> None:
    uso.save_pretrained(tmp_path)
    expert = DiffusersExpert(model=str(tmp_path), steps=2).load("cpu")

    def request(content: int = 0, style: int = 1, prompt: str = "a red tent", seed: int = 1) -> ExpertRequest:
        return ExpertRequest("stylize", picture(content), picture(style), prompt, "preserved", seed)

    requests = [request(), request(content=5), request(style=6), request(prompt="an old box"), request(seed=9)]
    base, *others = (np.asarray(image).astype(int) for image in expert(requests))
    assert all((other != base).any() for other in others)


def test_one_shared_encoder_takes_the_style_image_through_the_vae() -> None:
    shared = tiny_uso(projector=None, style_encoding="vae")
    base = make(shared, "", picture(0), picture(1))
    assert (make(shared, "", picture(0), picture(2)) - base).abs().max() > 1e-5
    assert (make(shared, "", picture(0), None) - base).abs().max() > 1e-5


@pytest.mark.parametrize("positions", ["diagonal", "aligned"])
def test_content_and_style_of_one_shared_encoder_are_told_apart(positions: Literal["diagonal", "aligned"]) -> None:
    shared = tiny_uso(projector=None, style_encoding="vae", positions=positions)
    assert (make(shared, "", picture(0), picture(1)) - make(shared, "", picture(1), picture(0))).abs().max() > 1e-4


@pytest.mark.parametrize("kind", ["hierarchical", "resampler", "mlp"])
def test_projectors_give_their_number_of_tokens_and_read_their_levels(kind: str) -> None:
    torch.manual_seed(0)
    projector = tiny_projector(kind)
    states = [torch.randn(3, 4, 16, requires_grad=True) for _ in range(4)]
    tokens = projector(projector.pick(states))
    assert tokens.shape == (3, projector.num_tokens, 32)
    tokens.square().sum().backward()
    read = [state.grad is not None for state in states]
    assert read == ([False, True, True, True] if kind == "hierarchical" else [False, False, False, True])


def test_the_full_size_projector_has_the_released_shapes() -> None:
    with torch.device("meta"):
        shapes = {name: tuple(value.shape) for name, value in StyleProjector().state_dict().items()}
    assert shapes["high_embedding_linear.0.weight"] == (64, 729)
    assert shapes["mid_layer_norm.weight"] == (1152,)
    assert shapes["low_projection.weight"] == (3072, 1152)
    assert len(shapes) == 18


def test_packing_is_undone_and_orders_channels_first() -> None:
    latents = torch.arange(2 * 3 * 4 * 6.0).reshape(2, 3, 4, 6)
    tokens = pack(latents)
    assert tokens.shape == (2, 6, 12)
    assert tokens[0, 0].tolist() == [0, 1, 6, 7, 24, 25, 30, 31, 48, 49, 54, 55]
    torch.testing.assert_close(unpack(tokens, (4, 6)), latents)
    with pytest.raises(ValueError, match="must be even"):
        pack(latents[..., :5])


def test_references_start_where_the_former_image_ends() -> None:
    ids = image_ids((4, 8), [(2, 2), (4, 2)], "diagonal")
    assert ids[:8].max(0).values.tolist() == [0, 1, 3]
    assert ids[8].tolist() == [0, 2, 4]
    assert ids[9:].tolist() == [[0, 3, 5], [0, 4, 5]]
    aligned = image_ids((4, 8), [(2, 2), (4, 2)], "aligned")
    assert aligned[8:].tolist() == [[0, 0, 0], [1, 0, 0], [1, 1, 0]]


def test_the_shift_counts_tokens_and_the_released_one_counts_64_at_1024_px() -> None:
    assert shift_mu((128, 128)) == pytest.approx(1.15)
    assert shift_mu((128, 128), "released") == pytest.approx(0.4675)
    sigma = torch.tensor([0.2, 0.5, 1.0])
    moved = shifted(sigma, 1.15)
    assert moved[2] == 1 and moved[1] == pytest.approx(1 / (1 + np.exp(-1.15)))


def test_latents_are_shifted_and_scaled_and_decoded_back(uso: UsoPipeline) -> None:
    images = torch.rand(1, 3, 64, 64) * 2 - 1
    mode = uso.vae.encode(images).latent_dist.mode()
    latents = encode_latents(uso.vae, images)
    torch.testing.assert_close(latents, (mode - 0.1) * 0.5)
    torch.testing.assert_close(decode_latents(uso.vae, latents), uso.vae.decode(mode).sample)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompt": ["a", "b"], "image": [picture(0)] * 3}, "2 prompts for 3 pictures"),
        ({"height": 40}, "multiples of 16"),
        ({"image": [picture(0), picture(1, (64, 32))], "prompt": ["a", "b"]}, "must have one size"),
    ],
)
def test_wrong_calls_are_refused(uso: UsoPipeline, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        uso(num_inference_steps=1, **arguments)


def test_style_images_need_an_encoder_for_them() -> None:
    with pytest.raises(ValueError, match="no vision encoder"):
        tiny_uso(projector=None)("a red tent", style_image=picture(0), num_inference_steps=1)
