"""Families that draw: contours, dots, lines, blocks, halos and textures over the coloured drawing."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from PIL import Image

from curate.parametric.canvas import (
    Canvas,
    as_colour,
    blur,
    edges,
    grid,
    grow,
    luminance,
    mix,
    noise,
    over_paper,
    shifted,
    unit_px,
)
from curate.parametric.colours import any_paper, dark, number, pale, strong

Params: TypeAlias = Mapping[str, Any]


def outline_params(rng: np.random.Generator) -> dict[str, Any]:
    ink = dark(rng) if rng.random() < 0.6 else pale(rng)
    return {"paper": any_paper(rng), "ink": ink, "width": number(rng, 0.8, 2.2)}


def paint_outline(rgba: Canvas, params: Params) -> Canvas:
    """A sticker: a rim of one colour around the silhouette."""
    rim = grow(rgba[..., 3], params["width"] * unit_px(rgba))[..., None]
    ground = mix(as_colour(params["paper"]), as_colour(params["ink"]), rim)
    return over_paper(rgba, ground)


def glow_params(rng: np.random.Generator) -> dict[str, Any]:
    return {"paper": dark(rng), "light": strong(rng), "radius": number(rng, 2.0, 5.0), "rise": number(rng, 0.0, 0.35)}


def paint_glow(rgba: Canvas, params: Params) -> Canvas:
    """Neon: a coloured halo on dark paper, and a little of its light on the drawing."""
    halo = np.clip(blur(rgba[..., 3], params["radius"] * unit_px(rgba)) * 1.5, 0, 1)[..., None]
    light = as_colour(params["light"])
    ground = mix(as_colour(params["paper"]), light, halo)
    return mix(over_paper(rgba, ground), light, rgba[..., 3:] * params["rise"])


def shadow_params(rng: np.random.Generator) -> dict[str, Any]:
    return {
        "paper": any_paper(rng),
        "ink": dark(rng) if rng.random() < 0.6 else strong(rng),
        "down": number(rng, 1.0, 5.0),
        "right": number(rng, -5.0, 5.0),
    }


def paint_shadow(rgba: Canvas, params: Params) -> Canvas:
    """A hard coloured shadow beside the drawing."""
    unit = unit_px(rgba)
    cast = shifted(rgba[..., 3:], round(params["down"] * unit), round(params["right"] * unit))
    return over_paper(rgba, mix(as_colour(params["paper"]), as_colour(params["ink"]), cast))


def halftone_params(rng: np.random.Generator) -> dict[str, Any]:
    return {
        "paper": pale(rng),
        "ink": dark(rng) if rng.random() < 0.5 else strong(rng),
        "pitch": number(rng, 4.0, 7.0),
        "angle": number(rng, 0.0, 1.57),
        "amount": number(rng, 0.45, 0.8),
    }


def paint_halftone(rgba: Canvas, params: Params) -> Canvas:
    """Dots of ink, larger where the picture is darker, over the colours."""
    laid = over_paper(rgba, as_colour(params["paper"]))
    rows, columns = grid(rgba)
    turn, scale = params["angle"], 2 * np.pi / params["pitch"]
    first = (rows * np.cos(turn) + columns * np.sin(turn)) * scale
    second = (columns * np.cos(turn) - rows * np.sin(turn)) * scale
    screen = (np.cos(first) + np.cos(second)) / 4 + 0.5
    darkness = 1 - luminance(laid)[..., 0]
    dots = np.clip((screen - 1 + darkness * 0.9) * 4 + 0.5, 0, 1)[..., None]
    return mix(laid, as_colour(params["ink"]), dots * params["amount"])


def hatch_params(rng: np.random.Generator) -> dict[str, Any]:
    return {
        "paper": pale(rng),
        "ink": dark(rng),
        "pitch": number(rng, 3.0, 6.0),
        "angle": number(rng, 0.0, 3.14),
        "amount": number(rng, 0.5, 0.85),
    }


def paint_hatch(rgba: Canvas, params: Params) -> Canvas:
    """Parallel pen strokes inside the silhouette, thicker where it is darker."""
    laid = over_paper(rgba, as_colour(params["paper"]))
    rows, columns = grid(rgba)
    phase = (rows * np.cos(params["angle"]) + columns * np.sin(params["angle"])) * (2 * np.pi / params["pitch"])
    darkness = 1 - luminance(rgba[..., :3])[..., 0]
    strokes = np.clip((np.cos(phase) - 0.75 + darkness * 0.9) * 2 + 0.5, 0, 1) * rgba[..., 3]
    return mix(laid, as_colour(params["ink"]), strokes[..., None] * params["amount"])


def scanline_params(rng: np.random.Generator) -> dict[str, Any]:
    return {
        "paper": any_paper(rng),
        "ink": dark(rng) if rng.random() < 0.6 else strong(rng),
        "pitch": number(rng, 3.0, 8.0),
        "upright": float(rng.random() < 0.4),
        "amount": number(rng, 0.3, 0.65),
    }


def paint_scanline(rgba: Canvas, params: Params) -> Canvas:
    """Even stripes over everything."""
    laid = over_paper(rgba, as_colour(params["paper"]))
    rows, columns = grid(rgba)
    phase = (columns if params["upright"] else rows) * (2 * np.pi / params["pitch"])
    stripes = np.clip(np.sin(phase) * 2 + 0.3, 0, 1)[..., None]
    return mix(laid, as_colour(params["ink"]), stripes * params["amount"])


def checker_params(rng: np.random.Generator) -> dict[str, Any]:
    return {
        "paper": any_paper(rng),
        "second": any_paper(rng),
        "pitch": number(rng, 5.0, 14.0),
        "stripes": float(rng.random() < 0.5),
    }


def paint_checker(rgba: Canvas, params: Params) -> Canvas:
    """The drawing on a chequered or diagonally striped cloth of two colours."""
    rows, columns = grid(rgba)
    scale = np.pi / params["pitch"]
    wave = np.sin((rows + columns) * scale) if params["stripes"] else np.sin(rows * scale) * np.sin(columns * scale)
    cloth = np.clip(wave * 6 + 0.5, 0, 1)[..., None]
    return over_paper(rgba, mix(as_colour(params["paper"]), as_colour(params["second"]), cloth))


def pixel_params(rng: np.random.Generator) -> dict[str, Any]:
    return {
        "paper": any_paper(rng),
        "block": float(rng.choice([2.0, 2.0, 3.0, 4.0])),
        "levels": float(rng.integers(5, 10)),
    }


def paint_pixel(rgba: Canvas, params: Params) -> Canvas:
    """Blocks of one colour, few colours."""
    laid = over_paper(rgba, as_colour(params["paper"]))
    height, width = laid.shape[:2]
    side = params["block"] * unit_px(rgba)
    small = (max(1, round(width / side)), max(1, round(height / side)))
    image = Image.fromarray((np.clip(laid, 0, 1) * 255 + 0.5).astype(np.uint8))
    blocks = image.resize(small, Image.Resampling.BOX).resize((width, height), Image.Resampling.NEAREST)
    steps = params["levels"] - 1
    flat: Canvas = (np.round(np.asarray(blocks, dtype=np.float32) / 255 * steps) / steps).astype(np.float32)
    return flat


def grain_params(rng: np.random.Generator) -> dict[str, Any]:
    return {
        "paper": any_paper(rng),
        "ink": dark(rng) if rng.random() < 0.6 else pale(rng),
        "cell": number(rng, 1.5, 6.0),
        "seed": float(rng.integers(0, 8)),
        "amount": number(rng, 0.3, 0.7),
    }


def paint_grain(rgba: Canvas, params: Params) -> Canvas:
    """Rough paper: a fixed noise field of one colour over everything."""
    laid = over_paper(rgba, as_colour(params["paper"]))
    field = noise(rgba, cell_units=params["cell"], seed=int(params["seed"]))
    return mix(laid, as_colour(params["ink"]), (field[..., None] ** 2) * params["amount"])


def emboss_params(rng: np.random.Generator) -> dict[str, Any]:
    return {
        "paper": strong(rng),
        "angle": number(rng, 0.0, 6.28),
        "depth": number(rng, 0.5, 1.0),
        "clay": number(rng, 0.3, 0.6),
    }


def paint_emboss(rgba: Canvas, params: Params) -> Canvas:
    """Pressed into clay: the drawing drawn towards the clay's colour, lit from one side."""
    clay = as_colour(params["paper"])
    laid = over_paper(rgba, clay)
    step = max(1, round(unit_px(rgba)))
    down, right = round(float(np.sin(params["angle"])) * step), round(float(np.cos(params["angle"])) * step)
    relief = luminance(laid) + rgba[..., 3:] * 0.5
    slope = shifted(relief, down, right) - shifted(relief, -down, -right)
    return mix(laid, clay, params["clay"]) + slope * (0.6 * float(params["depth"]))


def stained_params(rng: np.random.Generator) -> dict[str, Any]:
    return {"paper": any_paper(rng), "lead": dark(rng), "boost": number(rng, 1.2, 1.8)}


def paint_stained(rgba: Canvas, params: Params) -> Canvas:
    """Stained glass: strong colours, and lead between them."""
    light = luminance(rgba[..., :3])
    vivid = np.clip(light + (rgba[..., :3] - light) * params["boost"], 0, 1)
    laid = over_paper(np.concatenate([vivid, rgba[..., 3:]], axis=-1), as_colour(params["paper"]))
    return mix(laid, as_colour(params["lead"]), edges(rgba)[..., None])


def blueprint_params(rng: np.random.Generator) -> dict[str, Any]:
    return {
        "paper": strong(rng) if rng.random() < 0.5 else dark(rng),
        "chalk": pale(rng),
        "fill": number(rng, 0.25, 0.5),
    }


def paint_blueprint(rgba: Canvas, params: Params) -> Canvas:
    """Chalk contours on a board; the fills are faint."""
    board = as_colour(params["paper"])
    faint = mix(board, over_paper(rgba, board), params["fill"])
    return mix(faint, as_colour(params["chalk"]), edges(rgba)[..., None] * 0.9)


def misprint_params(rng: np.random.Generator) -> dict[str, Any]:
    return {
        "paper": any_paper(rng),
        "down": number(rng, -2.5, 2.5),
        "right": float(rng.choice([-3.0, -2.0, 2.0, 3.0])),
    }


def paint_misprint(rgba: Canvas, params: Params) -> Canvas:
    """Colour plates out of register: red one way, blue the other."""
    laid = over_paper(rgba, as_colour(params["paper"]))
    unit = unit_px(rgba)
    down, right = round(params["down"] * unit), round(params["right"] * unit)
    plates = [shifted(laid[..., :1], down, right), laid[..., 1:2], shifted(laid[..., 2:], -down, -right)]
    return np.concatenate(plates, axis=-1)


def frame_params(rng: np.random.Generator) -> dict[str, Any]:
    return {
        "paper": any_paper(rng),
        "ink": strong(rng),
        "width": number(rng, 2.0, 5.0),
        "amount": number(rng, 0.6, 0.95),
    }


def paint_frame(rgba: Canvas, params: Params) -> Canvas:
    """A stamp: a coloured frame at the picture's rim."""
    laid = over_paper(rgba, as_colour(params["paper"]))
    rows, columns = grid(rgba)
    width = rgba.shape[1] / unit_px(rgba)
    inset = np.minimum(np.minimum(rows, 64 - rows), np.minimum(columns, width - columns))
    rim = np.clip(params["width"] - inset + 0.5, 0, 1)[..., None]
    return mix(laid, as_colour(params["ink"]), rim * params["amount"])
