"""The compact USO base: words, stream, autoencoder, and the build from toy data to a pipeline that draws."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from curate.parametric import Style
from curate.train.loading import load_uso
from curate.zoo.style_words import colour_word, describe, describe_set
from curate.zoo.uso_base import build, caption_tokenizer
from curate.zoo.uso_data import BaseStream, to_tensor
from curate.zoo.uso_vae import set_components
from curate.zoo.uso_vision import draw_captioned
from pipelines.training import Plan
from pipelines.uso.encoders import encode_prompts
from pipelines.uso.patch_autoencoder import PatchAutoencoder
from tests.toy_emoji import toy_emoji

DATA = toy_emoji()
STREAM = BaseStream(DATA, seed=1)


def test_words_name_family_colours_and_accent() -> None:
    accent = Style("frame", {"paper": (1.0, 1.0, 1.0), "ink": (0.9, 0.1, 0.1), "width": 3.0})
    style = Style("halftone", {"paper": (1.0, 1.0, 0.75), "ink": (0.05, 0.05, 0.3), "pitch": 5.0}, accent)
    assert describe(style) == "halftone, dark blue ink, pale yellow paper, with frame, red ink, white paper"
    assert describe_set("noto-v1") == "noto v1 drawing"
    assert [colour_word(each) for each in ((0, 0, 0), (0.5, 0.5, 0.5), (0.7, 1.0, 0.7), (0.0, 0.4, 0.0))] == [
        "black", "grey", "pale green", "dark green",
    ]


def test_the_stream_is_a_function_of_its_place_and_keeps_to_training_subjects_and_sets() -> None:
    samples = STREAM.samples_at(3, batch=40)
    again = BaseStream(DATA, seed=1).sample(3 * 40 + 7)
    assert again.caption == samples[7].caption
    assert np.array_equal(again.target, samples[7].target)
    heldout = {name for name, out in zip(DATA.subjects, DATA.heldout_subjects.tolist(), strict=True) if out}
    assert heldout
    said = [STREAM.sample(index).caption for index in range(400)]
    assert not heldout & {caption.split(",")[0] for caption in said}
    assert not any(words in caption for caption in said for words in ("fxemoji", "emojione v1"))
    assert 0.05 < Counter(said)[""] / len(said) < 0.2


def test_a_painted_target_shows_its_content_in_place_most_of_the_time() -> None:
    """Where the paper is left out, content and target have one silhouette."""
    found = []
    for index in range(120):
        sample = STREAM.sample(index)
        inside = (sample.content < 250).any(axis=-1)
        found.append(np.abs(sample.target[inside].mean(axis=0) - sample.target[~inside].mean(axis=0)).max())
    assert np.median(found) > 20


@torch.no_grad()
def test_components_code_patches_far_better_than_their_mean_and_leave_latents_of_unit_size() -> None:
    images = to_tensor([STREAM.sample(index).content for index in range(64)])
    vae = PatchAutoencoder(latent_channels=32, width=16, depth=1)
    set_components(vae, images)
    latents = vae.encode(images).latent_dist.mode()
    assert latents.shape == (64, 32, 8, 8)
    assert 0.7 < latents.square().mean().sqrt() < 1.4
    error = (vae.decode(latents).sample - images).square().mean()
    assert error < 0.1 * images.var()
    with pytest.raises(ValueError, match="multiples of 8 px"):
        vae.encode(images[..., :60])


def test_every_subject_of_a_captioned_batch_stands_in_several_styles() -> None:
    images, captions = draw_captioned(DATA, np.random.default_rng(5))
    assert len(images) == len(captions)
    subjects = Counter(caption.split(",")[0] for caption in captions)
    assert len(subjects) == 12
    assert min(subjects.values()) >= 8


def test_clip_pools_at_the_end_of_the_caption(tmp_path: Path) -> None:
    """The pooled vector knows the last word: transformers pools elsewhere for an END of 2."""
    from curate.zoo.uso_base import CLIP_TOKENS, TextToImage

    tokenizer = caption_tokenizer(DATA)
    model = TextToImage(len(tokenizer))
    parts = {"clip": model.clip, "clip_tokenizer": tokenizer, "t5": model.t5, "t5_tokenizer": tokenizer}
    with torch.no_grad():
        _, pooled = encode_prompts(["thing 1", "thing 2"], max_tokens=CLIP_TOKENS, **parts)
    assert (pooled[0] - pooled[1]).abs().max() > 1e-3
    assert tokenizer("thing 1").input_ids[-1] == model.clip.config.eos_token_id


def test_a_build_writes_a_pipeline_that_draws_and_a_second_call_has_nothing_to_do(tmp_path: Path) -> None:
    plan = Plan(steps=2, peak_lr=1e-3, warmup=1, seed=1, save_every=2, log_every=1)
    out, work = tmp_path / "out", tmp_path / "work"
    options = {"plan": plan, "vae_plan": plan, "vision_plan": plan, "data": DATA, "batch": 4}
    assert build(out, work, **options).finished
    pipeline = load_uso(str(out))
    assert pipeline.config.positions == "aligned"
    (picture,) = pipeline("thing 1", num_inference_steps=2, generator=torch.Generator().manual_seed(0)).images
    assert picture.size == (64, 64)
    card = (out / "README.md").read_text()
    assert "VAE: steps" in card
    written = (work / "transformer" / "checkpoint.pt").stat().st_mtime_ns
    assert build(out, work, **options).step == 2
    assert (work / "transformer" / "checkpoint.pt").stat().st_mtime_ns == written
