"""What the compact expert knows of colours: exact ones of drawing sets, grounds of several kinds, curves of tones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from curate.parametric import Style, apply_style, plain
from curate.zoo.restyle import Restyler, known_colours
from curate.zoo.restyle_data import RestyleStream, to_float
from pipelines.compact.palettes import Palettes
from pipelines.compact.papers import grounds_of, likeness
from pipelines.compact.pipeline import RestylePipeline
from pipelines.compact.tones import NUM_TONES, along_curve
from tests.toy_emoji import toy_emoji

DATA = toy_emoji(6)
STREAM = RestyleStream(DATA, seed=0)
RED, YELLOW, GREEN, BLACK = (200, 20, 30), (250, 220, 10), (20, 180, 40), (0, 0, 0)


def tensor(*levels: tuple[int, int, int]) -> torch.Tensor:
    return torch.tensor(levels).float() / 127.5 - 1


def palettes() -> Palettes:
    """On white: set 0 is red and yellow, set 1 green and black, set 2 black ink; set 3 is not known."""
    known = Palettes(4, 3)
    white = (255, 255, 255)
    sets = [(white, RED, YELLOW), (white, GREEN, BLACK), (white, BLACK, (128,) * 3), (white, RED, RED)]
    known.colours.copy_(torch.stack([tensor(*colours) for colours in sets]))
    known.shares[:3] = torch.tensor([0.6, 0.2, 0.1])
    return known


def stripes(*levels: tuple[int, int, int]) -> torch.Tensor:
    """(1, 3, 64, 64): equal stripes of the colours."""
    return tensor(*levels).T.repeat_interleave(64 // len(levels), dim=1)[None, :, None].expand(1, 3, 64, 64).clone()


def test_a_picture_belongs_to_the_sets_that_have_its_very_colours() -> None:
    image = torch.cat([stripes((255,) * 3, RED), stripes(RED, BLACK), stripes((201, 20, 30), (255,) * 3)])
    membership = palettes().membership(image)
    torch.testing.assert_close(membership[:, 0], torch.tensor([1.0, 0.5, 0.0]))
    torch.testing.assert_close(membership[1], torch.tensor([0.5, 0.5, 0.5, 0.0]))


def test_a_white_picture_belongs_nowhere() -> None:
    assert palettes().membership(torch.ones(1, 3, 64, 64)).tolist() == [[0.0] * 4]


def test_settling_moves_what_is_near_a_colour_and_leaves_the_rest() -> None:
    near, far = (190, 30, 40), (90, 90, 200)
    settled = palettes().settle(stripes(near, far)[0], 0)
    torch.testing.assert_close(settled, stripes(RED, far)[0])


def test_a_set_of_two_inks_takes_everything_between_them_and_keeps_soft_rims() -> None:
    settled = palettes().settle(stripes((40, 30, 60), (230, 240, 220), (112, 112, 112), (144,) * 3)[0], 2)[:, 0]
    torch.testing.assert_close(settled[:, 0], tensor(BLACK)[0])
    torch.testing.assert_close(settled[:, 16], torch.ones(3))
    assert -1 < settled[0, 32] < settled[0, 48] < 1


def test_an_unknown_or_shaded_set_changes_nothing() -> None:
    shaded = palettes()
    shaded.shares[0] = 0.1
    image = stripes((190, 30, 40), RED)[0]
    assert torch.equal(shaded.settle(image, 0), image)
    assert torch.equal(shaded.settle(image, 3), image)


def test_known_colours_are_those_of_training_drawings_and_survive_half_precision() -> None:
    state = known_colours(STREAM, 16)
    pixels = plain(DATA.images[STREAM.by_set[STREAM.sets[0]][0]])
    found = {tuple(colour) for colour in pixels.reshape(-1, 3).tolist()}
    levels = ((state["colours"][0].half().float() + 1) * 127.5).round().int().tolist()
    known = {tuple(colour) for colour, share in zip(levels, state["shares"][0], strict=True) if share > 0}
    assert len(found & known) > 1
    assert (state["shares"].diff(dim=1) <= 0).all()
    assert 0 < float(state["shares"][0].sum()) <= 1 + 1e-6


def test_the_pipeline_settles_after_a_plain_drawing_and_not_after_a_painted_one() -> None:
    torch.manual_seed(0)
    model = Restyler((16, 32))
    encoder = model.style_encoder
    encoder.palettes.load_state_dict(palettes_for(encoder.palettes))
    pipeline = RestylePipeline(unet=model.unet, style_encoder=encoder)
    picture = Image.fromarray(plain(DATA.images[0]))
    num_sets, num_families = encoder.config.num_choices[:2]
    grey = []
    for family in (num_families - 1, 0):
        with torch.no_grad():
            encoder.reader[-1].bias[num_sets : num_sets + num_families] = 0
            encoder.reader[-1].bias[num_sets + family] = 100
        made = np.asarray(pipeline(picture, picture).images[0]).astype(int)
        grey.append(bool((made.max(2) - made.min(2)).max() <= 1))
        undone = np.asarray(pipeline(picture, task="destylize").images[0]).astype(int)
        assert (undone.max(2) - undone.min(2)).max() > 1
    assert grey == [True, False]


def palettes_for(module: Palettes) -> dict[str, torch.Tensor]:
    """All sets black on white."""
    colours = torch.ones_like(module.colours)
    colours[:, 1] = -1
    return {"colours": colours, "shares": torch.full_like(module.shares, 0.9 / module.shares.shape[1])}


SKY = Style("faded", {"top": (0.9, 0.5, 0.4), "bottom": (0.2, 0.3, 0.8), "fade": 0.3})
BARS = Style("scanline", {"paper": (0.9,) * 3, "ink": (0.1, 0.2, 0.3), "pitch": 4.3, "upright": 1.0, "amount": 0.6})


@pytest.mark.parametrize(("style", "ground"), [(SKY, 2), (BARS, 3)])
def test_a_ground_that_changes_by_row_or_column_is_seen_to_the_pixel(style: Style, ground: int) -> None:
    empty = np.zeros((1, 64, 64, 4), dtype=np.uint8)
    image = to_float(np.stack([apply_style(style, empty[0])]))
    grounds = grounds_of(image)
    torch.testing.assert_close(grounds[:, ground], image)
    seen = likeness(image, grounds).mean((2, 3))[0]
    assert seen[ground] == 1.0 and seen[0] < 0.9


def test_a_curve_gives_each_luminance_its_colour() -> None:
    knots = torch.linspace(-1, 1, NUM_TONES)
    curve = torch.stack([knots * 0.5, -knots, knots.square()])[None]
    greys = knots[None, None, None].expand(1, 3, 1, NUM_TONES)
    torch.testing.assert_close(along_curve(greys, curve)[0, :, 0], curve[0])
    between = torch.full((1, 3, 1, 1), float(knots[:2].mean()))
    torch.testing.assert_close(along_curve(between, curve).flatten(), curve[0, :, :2].mean(1))
