"""Families that change colours point by point: papers, washes, tone maps.

All keep a share of the original chroma, so that an inverse exists: de-stylization of a style that destroys
colour could only guess.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

from curate.parametric.canvas import Canvas, as_colour, grid, luminance, mix, over_paper
from curate.parametric.colours import any_paper, dark, number, pale, strong

Params: TypeAlias = Mapping[str, Any]


def paper_params(rng: np.random.Generator) -> dict[str, Any]:
    return {"paper": any_paper(rng)}


def paint_paper(rgba: Canvas, params: Params) -> Canvas:
    """The drawing as it is, on coloured paper."""
    return over_paper(rgba, as_colour(params["paper"]))


def wash_params(rng: np.random.Generator) -> dict[str, Any]:
    return {"paper": pale(rng), "tint": strong(rng), "amount": number(rng, 0.35, 0.75)}


def paint_wash(rgba: Canvas, params: Params) -> Canvas:
    """Drawing and paper under one coloured glass."""
    laid = over_paper(rgba, as_colour(params["paper"]))
    return mix(laid, laid * as_colour(params["tint"]), params["amount"])


def duotone_params(rng: np.random.Generator) -> dict[str, Any]:
    return {
        "ink": dark(rng),
        "paper": pale(rng) if rng.random() < 0.6 else strong(rng),
        "chroma": number(rng, 0.2, 0.5),
    }


def paint_duotone(rgba: Canvas, params: Params) -> Canvas:
    """Luminance from ink to paper; a share of the chroma stays."""
    laid = over_paper(rgba, as_colour((1.0, 1.0, 1.0)))
    light = luminance(laid)
    toned = mix(as_colour(params["ink"]), as_colour(params["paper"]), light)
    return toned + (laid - light) * float(params["chroma"])


def tritone_params(rng: np.random.Generator) -> dict[str, Any]:
    return {"ink": dark(rng), "middle": strong(rng), "paper": pale(rng), "chroma": number(rng, 0.2, 0.5)}


def paint_tritone(rgba: Canvas, params: Params) -> Canvas:
    """Luminance over three colours: ink, middle, paper."""
    laid = over_paper(rgba, as_colour((1.0, 1.0, 1.0)))
    light = luminance(laid)
    low = mix(as_colour(params["ink"]), as_colour(params["middle"]), np.clip(light * 2, 0, 1))
    toned = mix(low, as_colour(params["paper"]), np.clip(light * 2 - 1, 0, 1))
    return toned + (laid - light) * float(params["chroma"])


def negative_params(rng: np.random.Generator) -> dict[str, Any]:
    return {"paper": pale(rng), "gain": number(rng, 0.7, 1.0), "lift": dark(rng)}


def paint_negative(rgba: Canvas, params: Params) -> Canvas:
    """A film negative with lifted blacks."""
    laid = over_paper(rgba, as_colour(params["paper"]))
    return mix(as_colour(params["lift"]), as_colour((1.0, 1.0, 1.0)), (1 - laid) * params["gain"])


def poster_params(rng: np.random.Generator) -> dict[str, Any]:
    return {"paper": any_paper(rng), "levels": float(rng.integers(3, 6)), "contrast": number(rng, 1.0, 1.4)}


def paint_poster(rgba: Canvas, params: Params) -> Canvas:
    """Few levels per channel, strong contrast."""
    steps = params["levels"] - 1
    pushed = np.clip((rgba[..., :3] - 0.5) * params["contrast"] + 0.5, 0, 1)
    flat = np.round(pushed * steps) / steps
    return over_paper(np.concatenate([flat, rgba[..., 3:]], axis=-1), as_colour(params["paper"]))


def faded_params(rng: np.random.Generator) -> dict[str, Any]:
    return {"top": any_paper(rng), "bottom": any_paper(rng), "fade": number(rng, 0.15, 0.45)}


def paint_faded(rgba: Canvas, params: Params) -> Canvas:
    """A sky of two colours that shows through the drawing."""
    rows, _ = grid(rgba)
    sky = mix(as_colour(params["top"]), as_colour(params["bottom"]), rows[..., None] / 64)
    return mix(over_paper(rgba, sky), sky, params["fade"])


def split_params(rng: np.random.Generator) -> dict[str, Any]:
    return {"paper": any_paper(rng), "warm": strong(rng), "cool": dark(rng), "amount": number(rng, 0.3, 0.6)}


def paint_split(rgba: Canvas, params: Params) -> Canvas:
    """Highlights drawn to one colour, shadows to another; the paper is left alone."""
    light = luminance(rgba[..., :3])
    toned = mix(rgba[..., :3], mix(as_colour(params["cool"]), as_colour(params["warm"]), light), params["amount"])
    return over_paper(np.concatenate([toned, rgba[..., 3:]], axis=-1), as_colour(params["paper"]))
