"""Triplets with a known fault: what scorers and their thresholds are measured against.

Every unit is drawn from subjects that no training saw and from styles with unseen parameters, or from a plain
set. A fault spoils one image of a true unit and leaves the others, so that each column meets exactly what it
must tell apart.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

import numpy as np
from PIL import Image

from curate.interfaces import TripletImages
from curate.parametric import Style, sample_style
from curate.zoo.data import EmojiData
from curate.zoo.factorial import Pixels, draw

Fault = Literal[
    "none", "other_style", "residue", "other_subject", "leak", "copy_paste", "colour_only", "other_caption"
]
FAULTS: Final[tuple[Fault, ...]] = (
    "none",
    "other_style",
    "residue",
    "other_subject",
    "leak",
    "copy_paste",
    "colour_only",
    "other_caption",
)
INKS: Final = (
    "outline",
    "glow",
    "halftone",
    "hatch",
    "scanline",
    "checker",
    "pixel",
    "grain",
    "emboss",
    "stained",
    "blueprint",
    "misprint",
)
"""Families with a hand of their own; for the others "colour only" is the truth."""
SET_STYLE_CHANCE: Final = 0.3


class Truth(NamedTuple):
    """Units by fault, all of one length; unit i of every fault comes from the same true unit i."""

    units: dict[Fault, list[TripletImages]]


def draw_truth(data: EmojiData, *, count: int, seed: int) -> Truth:
    """``count`` true units and their spoilt versions; a function of data, count and seed."""
    units: dict[Fault, list[TripletImages]] = {fault: [] for fault in FAULTS}
    for number in range(count):
        for fault, unit in draw_unit(data, seed=seed, number=number).items():
            units[fault].append(unit)
    return Truth(units)


def draw_unit(data: EmojiData, *, seed: int, number: int) -> dict[Fault, TripletImages]:
    """One true unit, layout shifted (another drawing of the subject), with all its faults."""
    rng = np.random.default_rng([seed, number])
    heldout = np.flatnonzero(data.heldout_subjects)
    x, y, z = rng.choice(heldout, size=3, replace=False).tolist()
    a, b = _rows(data, rng, x, 2)
    by_set = rng.random() < SET_STYLE_CHANCE
    one, two = (None, None) if by_set else (sample_style(rng), sample_style(rng))
    home = int(data.set_index[b])
    other_y, other_z = (_row_in(data, rng, s, home if by_set else None) for s in (y, z))
    if by_set:  # the style is the set of b; so the wrong style is that of a, and only b is in the right one
        spoilt, again = data.images[a], data.images[b]
    else:
        spoilt, again = (
            data.images[b],
            data.images[next(row for row in _rows(data, rng, x, 3) if row not in (a, b))],
        )
    content, style, stylized = (
        draw(data.images[a], None, None),
        draw(data.images[other_y], one, None),
        draw(data.images[b], one, None),
    )
    ink = sample_style(rng, INKS[int(rng.integers(len(INKS)))])
    true = _unit(content, style, stylized, data.subjects[x], "shifted")
    wrong = draw(spoilt, two, None)
    return {
        "none": true,
        "other_style": true._replace(stylized=_image(wrong)),
        "residue": true._replace(content=_image(draw(_mirrored(again), one, None))),
        "other_subject": true._replace(content=_image(draw(data.images[other_z], None, None))),
        "leak": true._replace(style=_image(draw(_mirrored(again), one, None))),
        "copy_paste": true._replace(stylized=_image(draw(data.images[a], one or sample_style(rng), None))),
        "colour_only": _colour_only(data, rng, ink, a, other_y),
        "other_caption": true._replace(caption=data.subjects[z]),
    }


def ink_units(data: EmojiData, *, count: int, seed: int) -> list[TripletImages]:
    """True units whose style has a hand of its own: the counterpart of "colour_only"."""
    return [ink_unit(data, seed=seed, number=number) for number in range(count)]


def ink_unit(data: EmojiData, *, seed: int, number: int) -> TripletImages:
    """One of them, layout preserved."""
    rng = np.random.default_rng([seed, 1, number])
    x, y = rng.choice(np.flatnonzero(data.heldout_subjects), size=2, replace=False).tolist()
    ink = sample_style(rng, INKS[int(rng.integers(len(INKS)))])
    (a,), (b,) = _rows(data, rng, x, 1), _rows(data, rng, y, 1)
    return _unit(
        draw(data.images[a], None, None),
        draw(data.images[b], ink, None),
        draw(data.images[a], ink, None),
        data.subjects[x],
        "preserved",
    )


def _colour_only(
    data: EmojiData, rng: np.random.Generator, ink: Style, row: int, style_row: int
) -> TripletImages:
    """The content with the style's colour statistics (Reinhard et al. 2001) and nothing of its hand."""
    content, style = draw(data.images[row], None, None), draw(data.images[style_row], ink, None)
    pixels, wanted = (image.reshape(-1, 3).astype(np.float32) for image in (content, style))
    moved = (pixels - pixels.mean(axis=0)) / (pixels.std(axis=0) + 1) * wanted.std(axis=0) + wanted.mean(
        axis=0
    )
    recoloured = np.clip(moved, 0, 255).astype(np.uint8).reshape(content.shape)
    return _unit(content, style, recoloured, data.subjects[int(data.subject_index[row])], "preserved")


def _rows(data: EmojiData, rng: np.random.Generator, subject: int, count: int) -> list[int]:
    rows = [row for row in data.rows[subject].tolist() if row >= 0]
    return [int(row) for row in rng.choice(rows, size=count, replace=False)]


def _row_in(data: EmojiData, rng: np.random.Generator, subject: int, which: int | None) -> int:
    """The subject's drawing by a set, or any drawing where the set has none or none is asked for."""
    if which is not None and data.rows[subject, which] >= 0:
        return int(data.rows[subject, which])
    return _rows(data, rng, subject, 1)[0]


def _mirrored(rgba: Pixels) -> Pixels:
    return np.ascontiguousarray(rgba[:, ::-1])


def _image(pixels: Pixels) -> Image.Image:
    return Image.fromarray(pixels)


def _unit(
    content: Pixels, style: Pixels, stylized: Pixels, caption: str, layout: Literal["preserved", "shifted"]
) -> TripletImages:
    return TripletImages(_image(content), _image(style), _image(stylized), caption, "", layout)
