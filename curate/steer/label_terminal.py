"""Labelling in a terminal, where no browser reaches the machine: pictures as coloured half blocks, a key a label."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable

import numpy as np
from PIL import Image

from curate.images import decode, to_array
from curate.interfaces import ROLES
from curate.steer.labelling import Labelling
from curate.steer.labels import FAULTS

MAX_COLUMNS = 48
"""Of one picture: three stand beside each other."""


def label_in_terminal(session: Labelling, *, ask: Callable[[str], str] = input,
                      say: Callable[[str], None] = print) -> None:
    """Ask until all is labelled, q, Ctrl-D or Ctrl-C."""
    keys = {str(i): fault for i, fault in enumerate(FAULTS, 1)}
    legend = "\n".join(["  g good", *(f"  {key} bad: {FAULTS[fault]}" for key, fault in keys.items()),
                        "  u undo, n next (skip), q quit"])
    say(legend)
    while (unit := (state := session.state())["unit"]) is not None:
        pictures = [decode(session.picture(unit["unit_id"], role)) for role in ROLES]
        say(f"\n{half_blocks(pictures)}\ncontent, style, target ({unit['layout']} layout): {unit['caption']}")
        try:
            key = ask(f"{state['good'] + state['bad']} of {state['total']} labelled > ").strip().lower()
        except (EOFError, KeyboardInterrupt):
            return
        if key == "q":
            return
        if key == "g":
            session.label(unit["unit_id"], good=True)
        elif key in keys:
            session.label(unit["unit_id"], good=False, fault=keys[key])
        elif key == "u":
            session.undo()
        elif key == "n":
            session.skip(unit["unit_id"])
        else:
            say(legend)
    say("all triplets are labelled or skipped")


def half_blocks(pictures: list[Image.Image], columns: int | None = None) -> str:
    """Pictures side by side in 24-bit colours: a character is two pixels, one above the other."""
    columns = columns or min(MAX_COLUMNS, (shutil.get_terminal_size().columns - 4) // 3)
    grids = [to_array(picture.resize((columns, columns // 2 * 2), Image.Resampling.LANCZOS)) for picture in pictures]
    out = io.StringIO()
    for y in range(0, columns // 2 * 2, 2):
        for grid in grids:
            for above, below in zip(grid[y], grid[y + 1], strict=True):
                out.write(f"\x1b[38;2;{_rgb(above)}m\x1b[48;2;{_rgb(below)}m\u2580")
            out.write("\x1b[0m  ")
        out.write("\n")
    return out.getvalue()


def _rgb(pixel: np.ndarray) -> str:
    return ";".join(str(int(value)) for value in pixel)
