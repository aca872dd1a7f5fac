"""Metrics with real networks: the zoo's CLIP, CSD and evaluator, and toy ViTs of transformers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import Dinov2Config, Dinov2Model, ViTConfig, ViTModel

from curate.bench.emoji import EmojiPlan, emoji_items
from curate.bench.items import BenchItem, Picture
from curate.bench.metrics import (
    CasMetric,
    ClipMetric,
    ColourMetric,
    CombinedConfig,
    CopyPasteMetric,
    CsdMetric,
    DinoMetric,
    Dinov2Metric,
    Measure,
    Sample,
    TruthMetric,
    VisionMetric,
)
from curate.bench.scoring import combined_score
from curate.errors import ModelError
from curate.interfaces import TripletImages
from filters.cas import content_distance, standardise
from filters.csd import CsdScorer
from tests.bench_parts import item, picture
from tests.toy_emoji import toy_emoji

EMOJI = emoji_items(toy_emoji(), EmojiPlan(4, 3, 3, ("combined", "style")))
COMBINED = [each for each in EMOJI if each.task == "combined"]


def sample(of: BenchItem, output: Picture | None) -> Sample:
    assert output is not None
    return Sample(of, output)


@pytest.fixture
def vit(tmp_path: Path) -> str:
    torch.manual_seed(0)
    ViTModel(ViTConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, image_size=32,
                       patch_size=8), add_pooling_layer=False).save_pretrained(tmp_path / "vit")
    return str(tmp_path / "vit")


@pytest.fixture
def dinov2(tmp_path: Path) -> str:
    torch.manual_seed(0)
    Dinov2Model(Dinov2Config(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=32, patch_size=8,
                             )).save_pretrained(tmp_path / "dinov2")
    return str(tmp_path / "dinov2")


@pytest.fixture(scope="module")
def clip() -> Measure:
    return ClipMetric(batch=4).load("cpu")


def test_clip_i_of_a_copy_is_one_and_the_subject_is_told_from_others(clip: Measure) -> None:
    items = [item(at) for at in range(5)]
    copies = clip([sample(each, each.content) for each in items])
    others = clip([sample(each, each.style) for each in items])
    assert copies["clip_i"] == pytest.approx(np.ones(5), abs=1e-4)
    assert (others["clip_i"] < 0.95).all()
    assert copies["clip_t"].shape == (5,) and (np.abs(copies["clip_t"]) <= 1).all()


def test_clip_says_nothing_where_it_is_told_nothing(clip: Measure) -> None:
    style, told = item(1, "style"), item(2, "subject")
    found = clip([sample(style, style.style), sample(replace(told, prompt=""), told.content)])
    assert np.isnan(found["clip_i"][0]) and np.isnan(found["clip_t"][1])
    assert np.isfinite(found["clip_t"][0]) and np.isfinite(found["clip_i"][1])


def test_the_prompt_matters(clip: Measure) -> None:
    one, two = item(1, prompt="red heart"), item(1, prompt="bicycle")
    found = clip([sample(one, one.content), sample(two, two.content)])
    assert abs(found["clip_t"][0] - found["clip_t"][1]) > 1e-3


def test_several_references_give_the_mean_similarity(clip: Measure) -> None:
    one = item(1)
    pictures = (picture(1), picture(2), picture(3))
    apart = [float(clip([sample(replace(one, references=(each,)), picture(4))])["clip_i"][0]) for each in pictures]
    together = clip([sample(replace(one, references=pictures), picture(4))])["clip_i"][0]
    assert together == pytest.approx(np.mean(apart), abs=1e-5)


def test_csd_is_the_scorers_own_number() -> None:
    units = [item(at) for at in range(3)]
    outputs = [picture(50 + at) for at in range(3)]
    found = CsdMetric(batch=2).load("cpu")([sample(unit, out) for unit, out in zip(units, outputs, strict=True)])["csd"]
    triplets = [TripletImages(unit.content.open(), unit.style.open(), out.open(), "", "", "shifted")
                for unit, out in zip(units, outputs, strict=True) if unit.content and unit.style]
    wanted = CsdScorer().load("cpu")(triplets)
    assert found == pytest.approx(wanted["csd.style.style_stylized"], abs=1e-4)


def test_csd_of_the_style_is_one_and_needs_a_style() -> None:
    measure = CsdMetric().load("cpu")
    with_style, without = item(1), item(2, "subject")
    found = measure([sample(with_style, with_style.style), sample(without, without.content)])["csd"]
    assert found[0] == pytest.approx(1.0, abs=1e-4) and np.isnan(found[1])


def test_dino_is_the_class_token_after_the_published_preprocessing(vit: str) -> None:
    one, other = item(1), picture(7, size=80)
    measure = DinoMetric(model=vit, resize_px=36, crop_px=32).load("cpu")
    found = measure([sample(one, one.content), sample(one, other)])["dino"]
    assert found[0] == pytest.approx(1.0, abs=1e-5)

    network = ViTModel.from_pretrained(vit, add_pooling_layer=False).eval()
    vectors = []
    for each in (one.content, other):
        assert each is not None
        small = each.open().resize((36, 36), 3)  # bicubic
        pixels = np.asarray(small.crop((2, 2, 34, 34)), dtype=np.float32) / 255
        pixels = (pixels - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
        with torch.no_grad():
            tokens = network(torch.from_numpy(pixels).float().permute(2, 0, 1)[None]).last_hidden_state
        vectors.append(torch.nn.functional.normalize(tokens[0, 0], dim=0))
    assert found[1] == pytest.approx(float(vectors[0] @ vectors[1]), abs=1e-5)
    assert found[1] < 0.9999


def test_a_model_of_another_kind_or_size_is_refused(vit: str, dinov2: str, tmp_path: Path) -> None:
    cases: list[tuple[VisionMetric, str]] = [
        (DinoMetric(model=dinov2, crop_px=32), "is a 'dinov2' model; dino needs 'vit'"),
        (Dinov2Metric(model=vit), "dinov2 needs 'dinov2'"),
        (DinoMetric(model=vit), "takes 32 px; set crop_px"),
        (DinoMetric(model=str(tmp_path / "nothing")), "cannot be loaded by transformers"),
    ]
    for config, says in cases:
        with pytest.raises(ModelError, match=says):
            config.load("cpu")  # type: ignore[attr-defined]


def test_dinov2_and_cas_of_a_copy(dinov2: str) -> None:
    one, none = item(1), item(2, "style")
    samples = [sample(one, one.content), sample(one, one.style), sample(none, none.style)]
    similarity = Dinov2Metric(model=dinov2, resize_px=36, crop_px=32).load("cpu")(samples)["dinov2"]
    distance = CasMetric(model=dinov2, resize_px=36, crop_px=32, batch=2).load("cpu")(samples)["cas"]
    assert similarity[0] == pytest.approx(1.0, abs=1e-5) and similarity[1] < similarity[0] and np.isnan(similarity[2])
    assert distance[0] == pytest.approx(0.0, abs=1e-5) and distance[1] > 0.01 and np.isnan(distance[2])


def test_cas_does_not_see_a_change_of_scale_and_offset_of_channels() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(49, 16)).astype(np.float32)
    scale, offset = rng.uniform(0.5, 3, 16), rng.normal(size=16)
    moved = (features * scale + offset).astype(np.float32)
    assert content_distance(features, moved) == pytest.approx(0.0, abs=1e-5)
    assert content_distance(features, -features) == pytest.approx(4.0, abs=1e-4)
    unrelated = rng.normal(size=(49, 16)).astype(np.float32)
    assert content_distance(features, unrelated) == pytest.approx(2.0, abs=0.3)


def test_a_channel_without_contrast_becomes_zero() -> None:
    features = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)
    features[:, 1] = 5
    standard = standardise(features)
    assert (standard[:, 1] == 0).all() and standard[:, 0].std() == pytest.approx(1.0, abs=1e-5)


def test_copy_paste_and_colour_only() -> None:
    one, style = COMBINED[0], item(2, "style")
    alignment = CopyPasteMetric().load("cpu")
    found = alignment([sample(one, one.content), sample(one, one.style), sample(style, style.style)])["copy_paste"]
    assert found[0] == pytest.approx(1.0, abs=1e-4) and found[1] < found[0] and np.isnan(found[2])
    only = ColourMetric().load("cpu")([sample(one, one.content), sample(one, one.style), sample(style, style.style)])
    assert only["colour_only"][0] > only["colour_only"][1] and np.isnan(only["colour_only"][2])


def test_copying_the_content_keeps_the_subject_and_not_the_style_and_the_reverse() -> None:
    measure = TruthMetric().load("cpu")
    content = measure([sample(each, each.content) for each in COMBINED])
    style = measure([sample(each, each.style) for each in COMBINED])
    assert content["subject_top1"].mean() == 1.0 and content["style_nearer"].mean() == 0.0
    assert style["style_nearer"].mean() == 1.0 and style["subject_top1"].mean() < 0.7
    assert np.nanmax(content["l1"]) > 0


def test_the_truth_is_at_no_distance_and_set_accuracy_needs_a_set() -> None:
    measure = TruthMetric().load("cpu")
    known = [each for each in COMBINED if each.truth is not None and each.truth.target is not None]
    found = measure([sample(each, each.truth.target if each.truth else None) for each in known])
    assert (found["l1"] == 0).all()
    for each, named in zip(known, found["set_top1"], strict=True):
        assert each.truth is not None and (each.truth.set_name is not None or np.isnan(named))
    nothing = item(1)
    assert all(np.isnan(values[0]) for values in measure([sample(nothing, nothing.content)]).values())


def test_the_combined_score_needs_both() -> None:
    subject, style = np.array([1.0, 0.0, 0.81, -0.5, np.nan]), np.array([0.0, 1.0, 0.81, 1.0, 1.0])
    found = combined_score(subject.astype(np.float32), style.astype(np.float32))
    assert found[:4] == pytest.approx([0.0, 0.0, 0.81, 0.0], abs=1e-6) and np.isnan(found[4])
    assert "clip_i x csd" in CombinedConfig().column.source


def test_every_column_has_a_source_and_a_preprocessing() -> None:
    for config in (ClipMetric(), CsdMetric(), DinoMetric(), Dinov2Metric(), CasMetric(), CopyPasteMetric(),
                   ColourMetric(), TruthMetric()):
        for name, column in config.columns.items():  # type: ignore[attr-defined]
            assert column.source and column.preprocessing and column.label, name
