"""Scorers without a model: copy-paste, colour-only, perceptual hash; and the table of scorers."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, ImageDraw

from curate.errors import ConfigError
from curate.interfaces import TripletImages
from filters import SCORERS, scorer_class
from filters.colour import ColourScorer, texture_similarity
from filters.copy_paste import CopyPasteScorer
from filters.luminance import luminance
from filters.phash import PhashScorer


def drawing(
    at: tuple[int, int] = (20, 14), *, ink: str = "#802010", paper: str = "#ffffff", size: int = 64
) -> Image.Image:
    image = Image.new("RGB", (size, size), paper)
    pen = ImageDraw.Draw(image)
    x, y = at
    pen.ellipse((x, y, x + 26, y + 30), fill=ink)
    pen.rectangle((x + 6, y + 8, x + 12, y + 14), fill=paper)
    pen.polygon([(x + 14, y + 28), (x + 34, y + 40), (x + 10, y + 44)], fill="#3060c0")
    return image


def unit(content: Image.Image, style: Image.Image, stylized: Image.Image) -> TripletImages:
    return TripletImages(content, style, stylized, "", "", "shifted")


def alignments(*pairs: tuple[Image.Image, Image.Image]) -> np.ndarray:
    return CopyPasteScorer().load("cpu")([unit(c, c, t) for c, t in pairs])["copy_paste.alignment"]


def test_alignment_is_one_for_a_copy_and_stays_high_when_only_the_style_changes() -> None:
    content = drawing()
    inverted = Image.eval(content, lambda v: 255 - v)
    dark = drawing(ink="#f0e060", paper="#202040")
    same, negative, recoloured = alignments((content, content), (content, inverted), (content, dark))
    assert same == pytest.approx(1.0, abs=1e-5)
    assert negative > 0.95 and recoloured > 0.6


def test_alignment_is_low_for_a_moved_subject_but_forgives_one_pixel() -> None:
    content = drawing()
    moved, near, flipped = alignments(
        (content, drawing((6, 4))),
        (content, drawing((21, 15))),
        (content, content.transpose(Image.Transpose.FLIP_LEFT_RIGHT)),
    )
    assert moved < 0.35 and flipped < 0.35
    assert near > 0.9


def test_alignment_compares_images_of_different_sizes() -> None:
    big = drawing().resize((200, 200), Image.Resampling.BICUBIC)
    assert alignments((drawing(), big))[0] > 0.9


def test_a_flat_image_cannot_be_scored() -> None:
    flat = Image.new("RGB", (64, 64), "#808080")
    values = alignments((flat, drawing()), (drawing(), drawing()))
    assert np.isnan(values[0]) and np.isfinite(values[1])


def hatched(image: Image.Image) -> Image.Image:
    pixels = np.asarray(image).copy()
    rows, columns = np.indices((64, 64))
    pixels[(rows + columns) % 3 == 0] //= 4
    return Image.fromarray(pixels)


def recoloured(image: Image.Image, like: Image.Image) -> Image.Image:
    a, b = (np.asarray(i, dtype=np.float32).reshape(-1, 3) for i in (image, like))
    moved = (a - a.mean(0)) / (a.std(0) + 1) * b.std(0) + b.mean(0)
    return Image.fromarray(np.clip(moved, 0, 255).astype(np.uint8).reshape(64, 64, 3))


def test_colour_only_is_high_when_the_hand_of_the_style_did_not_arrive() -> None:
    content, style = drawing(), hatched(drawing((8, 10), ink="#206040", paper="#e0d0a0"))
    true = hatched(drawing(ink="#206040", paper="#e0d0a0"))
    fake = recoloured(content, style)
    columns = ColourScorer().load("cpu")([unit(content, style, true), unit(content, style, fake)])
    assert tuple(columns) == ColourScorer().columns
    assert columns["colour.only"][1] > columns["colour.only"][0] + 0.1
    assert columns["colour.texture_kept"][1] > 0.9 > columns["colour.texture_kept"][0]


def test_texture_similarity_does_not_see_colours() -> None:
    red, other = luminance(drawing(), 64), luminance(drawing(ink="#1030c0", paper="#ffe0a0"), 64)
    assert texture_similarity(red, red) == pytest.approx(1.0)
    assert texture_similarity(red, other) > 0.9
    assert texture_similarity(red, luminance(hatched(drawing()), 64)) < 0.7


def test_phash_is_stable_under_small_changes_and_far_for_other_images() -> None:
    rng = np.random.default_rng(0)
    noise = np.clip(np.asarray(drawing()) + rng.normal(0, 3, (64, 64, 3)), 0, 255).astype(np.uint8)
    other = Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8))
    c = drawing()
    bits = PhashScorer().load("cpu")(
        [unit(c, c, drawing()), unit(c, c, Image.fromarray(noise)), unit(c, c, other)]
    )["phash.bits"]
    assert bits.dtype == np.int64
    distance = np.bitwise_count((bits[0] ^ bits[1:]).view(np.uint64))
    assert distance[0] <= 6 < 16 <= distance[1]


def test_phash_bits_are_those_of_imagehash() -> None:
    import imagehash

    bits = PhashScorer().load("cpu")([unit(drawing(), drawing(), drawing())])["phash.bits"][0]
    assert f"{int(bits.view(np.uint64)):016x}" == str(imagehash.phash(drawing()))


@pytest.mark.parametrize("kind", sorted(SCORERS))
def test_every_kind_in_the_table_is_its_class(kind: str) -> None:
    config = scorer_class(kind)()
    assert config.kind == kind  # type: ignore[attr-defined]
    assert all(column.startswith(f"{kind}.") for column in config.columns)  # type: ignore[attr-defined]


def test_unknown_kind_suggests_a_near_one() -> None:
    with pytest.raises(ConfigError, match="did you mean 'copy_paste'"):
        scorer_class("copypaste")


def test_configs_load_no_model_library() -> None:
    code = (
        "import sys\nfrom filters import SCORERS, scorer_class\nfor kind in SCORERS: scorer_class(kind)()\n"
        "bad = {'torch', 'ray', 'transformers', 'diffusers', 'open_clip'} & set(sys.modules)\n"
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
