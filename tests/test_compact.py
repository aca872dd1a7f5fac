"""The compact pipeline: what it accepts, how it is saved, and that its network learns styles from a reference."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline, UNet2DModel
from PIL import Image

from curate.images import from_unit_range
from curate.parametric import PRESETS, apply_style, plain
from curate.zoo import restyle_reader
from curate.zoo.restyle import Restyler, build, losses_of
from curate.zoo.restyle_data import RestyleStream, collate, to_float
from pipelines.compact.layout import IDENTITY, Similarity, draw_similarity, paper_of, transform
from pipelines.compact.network import StyleEncoder, Window, build_unet
from pipelines.compact.pipeline import RestylePipeline, from_pil
from pipelines.training import Plan
from tests.toy_emoji import toy_emoji

TINY = (16, 32)
DATA = toy_emoji(6)


@pytest.fixture(scope="module")
def pipeline() -> RestylePipeline:
    torch.manual_seed(0)
    model = Restyler(TINY)
    torch.nn.init.normal_(model.style_encoder.colour_head[-1].weight, std=0.1)
    return RestylePipeline(unet=model.unet, style_encoder=model.style_encoder)


def picture(row: int = 0, px: int = 64) -> Image.Image:
    return Image.fromarray(plain(DATA.images[row])).resize((px, px))


def styled(row: int, preset: str) -> Image.Image:
    return Image.fromarray(apply_style(PRESETS[preset], DATA.images[row]))


def seeds(*numbers: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(number) for number in numbers]


def same(first: Image.Image, second: Image.Image) -> bool:
    return first.tobytes() == second.tobytes()


def test_one_image_out_for_each_image_in_whatever_its_size(pipeline: RestylePipeline) -> None:
    images = pipeline([picture(0), picture(11, px=200), picture(22, px=17)], [styled(5, "sepia")] * 3).images
    assert [(image.mode, image.size) for image in images] == [("RGB", (64, 64))] * 3
    assert pipeline(picture(), styled(5, "sepia")).images[0].size == (64, 64)


def test_transparent_pictures_lie_over_white() -> None:
    rgba = Image.fromarray(DATA.images[0])
    np.testing.assert_allclose(from_pil([rgba]).numpy(), from_pil([picture()]).numpy(), atol=1 / 127)


def test_pictures_survive_the_way_in_and_out() -> None:
    assert same(from_unit_range(from_pil([picture()]).numpy())[0], picture())


def test_the_output_depends_on_the_reference_and_on_the_task(pipeline: RestylePipeline) -> None:
    one, two = (pipeline(picture(), styled(5, preset)).images[0] for preset in ("sepia", "neon-pink"))
    three = pipeline(picture(), task="destylize").images[0]
    assert not same(one, two)
    assert not same(one, three)


def test_a_batch_gives_what_single_calls_give(pipeline: RestylePipeline) -> None:
    both = pipeline([picture(0), picture(11)], [styled(5, "sepia"), styled(6, "dusk")], output_type="pt").images
    alone = pipeline(picture(11), styled(6, "dusk"), output_type="pt").images
    torch.testing.assert_close(both[1:], alone, atol=1e-4, rtol=0)


def test_saved_in_half_and_loaded_by_its_class(pipeline: RestylePipeline, tmp_path: Path) -> None:
    before = pipeline(picture(), styled(5, "dusk"), output_type="pt").images
    copy = RestylePipeline(unet=build_unet(TINY), style_encoder=StyleEncoder(embed_dim=4 * TINY[0]))
    copy.unet.load_state_dict(pipeline.unet.state_dict())
    copy.style_encoder.load_state_dict(pipeline.style_encoder.state_dict())
    RestylePipeline(unet=copy.unet.half(), style_encoder=copy.style_encoder.half()).save_pretrained(tmp_path)
    assert len(list(tmp_path.rglob("*.safetensors"))) == 2
    again = RestylePipeline.from_pretrained(tmp_path, dtype=torch.float32)
    assert isinstance(again, DiffusionPipeline)
    torch.testing.assert_close(
        again(picture(), styled(5, "dusk"), output_type="pt").images, before, atol=0.02, rtol=0
    )


def test_shifted_moves_each_image_by_its_own_generator(pipeline: RestylePipeline) -> None:
    three = [picture()] * 3
    layouts = ["shifted", "preserved", "shifted"]
    made = pipeline(three, task="destylize", layout=layouts, generator=seeds(1, 1, 2)).images
    again = pipeline(three, task="destylize", layout=layouts, generator=seeds(1, 1, 2)).images
    still = pipeline(three, task="destylize").images
    assert all(same(a, b) for a, b in zip(made, again, strict=True))
    assert same(made[1], still[1])
    assert not same(made[0], still[0])
    assert not same(made[0], made[2])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"task": "paint"}, "task 'paint'"),
        ({"task": "stylize"}, "needs a style_image"),
        ({"task": "destylize", "style_image": picture()}, "takes no style_image"),
        ({"task": "stylize", "style_image": [picture()] * 2}, "1 images but 2 style images"),
        ({"task": "destylize", "layout": "shifted"}, "needs a generator"),
        ({"task": "destylize", "layout": "turned", "generator": seeds(1)}, "layout 'turned'"),
        ({"task": "destylize", "layout": ["shifted"] * 2, "generator": seeds(1)}, "1 images but 2 layouts"),
        ({"task": "destylize", "layout": "shifted", "generator": seeds(1, 2)}, "1 images but 2 generators"),
        ({"task": "destylize", "output_type": "jpg"}, "output_type 'jpg'"),
    ],
)
def test_wrong_calls_are_refused(pipeline: RestylePipeline, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pipeline([picture()], **arguments)


def test_the_identity_moves_nothing_and_a_shift_moves_by_its_pixels() -> None:
    image = to_float(DATA.images[:1, ..., :3])
    fill = paper_of(image)
    torch.testing.assert_close(transform(image, [IDENTITY], fill), image, atol=1e-4, rtol=0)
    right = transform(image, [Similarity(False, 1.0, 0.0, right=8 / 32, down=0.0)], fill)
    torch.testing.assert_close(right[..., 8:], image[..., :-8], atol=1e-3, rtol=0)
    mirrored = transform(image, [Similarity(True, 1.0, 0.0, right=8 / 32, down=0.0)], fill)
    torch.testing.assert_close(mirrored[..., 8:], image.flip(-1)[..., :-8], atol=1e-3, rtol=0)


def test_a_turn_goes_clockwise_and_a_small_scale_brings_in_the_fill() -> None:
    image = -torch.ones(1, 3, 64, 64)
    image[..., 2:6, 30:34] = 1  # a dot at the top
    turned = transform(image, [Similarity(False, 1.0, math.pi / 2, 0.0, 0.0)], -torch.ones(1, 3))
    assert turned[0, 0, 30:34, 58:62].mean() > 0.8
    small = transform(image, [Similarity(False, 0.5, 0.0, 0.0, 0.0)], torch.zeros(1, 3))
    assert small[0, 0, :15].abs().max() == 0
    assert small[0, 0, 20, 20] == -1


def test_drawn_similarities_are_never_near_the_identity() -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        drawn = draw_similarity(generator)
        assert drawn.mirror or (drawn.scale <= 0.92 and abs(drawn.angle) >= math.radians(8) - 1e-9)
        assert 0.75 <= drawn.scale <= 1.05
        assert abs(drawn.angle) <= math.radians(20) + 1e-9
        assert max(abs(drawn.right), abs(drawn.down)) <= 0.2


def test_the_paper_is_the_colour_of_the_rim_or_of_what_the_frame_encloses() -> None:
    image = torch.full((1, 3, 64, 64), 0.5)
    image[..., :4], image[..., -4:], image[..., :4, :], image[..., -4:, :] = -1, -1, -1, -1
    image[..., 20:40, 20:40] = 0.9
    assert paper_of(image).tolist() == [[-1.0] * 3]
    assert paper_of(image, inset_px=6).tolist() == [[0.5] * 3]


def test_a_window_asks_for_its_own_part_of_the_truth() -> None:
    model = Restyler(TINY)
    samples = RestyleStream(DATA, seed=3, batch=4).samples_at(0)
    target = collate(samples).target
    seen: dict[int, torch.Tensor] = {}

    class Spy(UNet2DModel):
        def forward(self, sample: torch.Tensor, *args: object, **kwargs: object) -> object:
            seen[len(seen)] = sample
            return super().forward(sample, *args, **kwargs)

    model.unet.__class__ = Spy
    window = Window(top=16, left=32, side=32)
    torch.manual_seed(0)
    losses = losses_of(samples, model=model, window=window)
    torch.manual_seed(0)
    losses_of(samples, model=model)
    torch.testing.assert_close(seen[0], seen[1][..., 8:24, 16:32])
    assert window.of(target).shape == (4, 3, 32, 32)
    assert all(torch.isfinite(value) for value in losses.values())


def test_the_encoder_learns_from_labels_and_only_where_they_hold() -> None:
    model = Restyler(TINY)
    samples = RestyleStream(DATA, seed=3, batch=32).samples_at(0)
    assert 0 < sum(each.similarity != IDENTITY for each in samples) < len(samples)
    losses_of(samples, model=model)["choices"].backward()
    assert model.style_encoder.reader[0].weight.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in model.unet.parameters())
    moved = [each for each in samples if each.similarity != IDENTITY]
    still = [each for each in samples if each.similarity == IDENTITY]
    torch.testing.assert_close(
        losses_of(still + moved[:1], model=model)["choices"], losses_of(still, model=model)["choices"]
    )


def test_building_learns_ships_a_pipeline_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restyle_reader, "BATCH", 8)
    plan = Plan(steps=6, peak_lr=2e-3, warmup=2, cooldown=0.2, log_every=2, save_every=3, bf16=False)
    data = toy_emoji(8)
    reading = Plan(steps=2, peak_lr=1e-3, warmup=1, save_every=2, bf16=False)
    result = build(tmp_path / "out", tmp_path / "work", plan=plan, reading=reading, data=data, channels=TINY)
    lines = (tmp_path / "work" / "metrics.jsonl").read_text().splitlines()
    assert result.finished
    assert len(lines) == 3
    card = (tmp_path / "out" / "README.md").read_text()
    assert "6 of 6" in card
    assert "| openmoji | MIT | 8 | yes |" in card
    loaded = RestylePipeline.from_pretrained(tmp_path / "out", dtype=torch.float32)
    assert loaded([picture()], [styled(5, "sepia")]).images[0].size == (64, 64)
    again = build(tmp_path / "out", tmp_path / "work", plan=plan, reading=reading, data=data, channels=TINY)
    assert again.step == 6
    assert len((tmp_path / "work" / "metrics.jsonl").read_text().splitlines()) == 3
