"""Unit ids: a hash of everything that determines the images of a unit, and of nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from json.encoder import encode_basestring as _quoted
from typing import Any, NamedTuple

import numpy as np

from curate import seeds
from curate.images import FitMode
from curate.interfaces import Layout
from curate.planning.recipes import LAYOUTS, FromPairConfig, FromStylizedConfig, calls, captions_wanted
from curate.unit_columns import Codes

BLANK = "\0"
"""Stands for what differs between units: no name, prompt or model is called so."""


class Settings(NamedTuple):
    """What all units of a plan have in common."""

    recipe: FromStylizedConfig | FromPairConfig
    experts: Mapping[str, Mapping[str, object]]
    """Verb -> identity of the expert."""
    seed: int
    size: int
    fit: FitMode
    val_fraction: float
    captioner: Mapping[str, object] | None = None
    """Identity of the model that writes missing captions."""


class Layouts:
    """The configured layout; for ``both`` they take turns, beginning with either by a hash of the target."""

    def __init__(self, settings: Settings) -> None:
        self._layout = settings.recipe.layout
        self._digest = seeds.Digests(settings.seed, "layout", size=8)

    def first(self, sums: Sequence[str]) -> Codes:
        """(N,) positions in ``LAYOUTS`` for draw 0 of targets by their sha256; draw 1 has the other, if there are both.
        """
        if self._layout != "both":
            return np.full(len(sums), LAYOUTS.index(self._layout), dtype=np.int8)
        hashes = np.frombuffer(b"".join(map(self._digest, sums)), dtype=">u8")
        return (hashes >> np.uint64(1) & np.uint64(1)).astype(np.int8)

    def after(self, first: Codes, draw: int) -> Codes:
        """(N,) of a later draw."""
        return (first + draw) % np.int8(len(LAYOUTS)) if self._layout == "both" else first


class UnitIds:
    """Makes unit ids.

    An id covers the recipe's expert calls and the experts that they use, the captioner if it writes for the unit,
    layout, prompts, sha256 of the inputs, seed, size and fit. It leaves out paths and locators, labels that reach no
    model, the split, and how many units there are. It is the hash of one JSON object, most of whose text is the same
    for all units and written once.
    """

    def __init__(self, settings: Settings) -> None:
        steps = calls(settings.recipe)
        self._wanted = tuple(field for field, _ in captions_wanted(settings.recipe))
        facts: dict[str, Any] = {
            "recipe": settings.recipe.kind,
            "calls": [[call.makes, call.verb, call.content, call.style, call.prompt] for call in steps],
            "experts": {call.verb: settings.experts[call.verb] for call in steps},
            "captions": [BLANK, BLANK], "inputs": BLANK, "layout": BLANK,
            "seed": settings.seed, "size": settings.size, "fit": settings.fit,
        }
        self._known = _pieces(facts)
        self._written = _pieces({**facts, "captioner": settings.captioner}) if settings.captioner else self._known
        self._digest = seeds.Digests()

    def make(self, *, layout: Layout, caption: str, style_caption: str, inputs: str) -> bytes:
        """16 bytes. ``inputs``: JSON of role -> sha256, roles in alphabetical order."""
        captions = {"caption": caption, "style_caption": style_caption}
        a, b, c, d, e = self._known if all(captions[field] for field in self._wanted) else self._written
        return self._digest(f'{a}{_quoted(caption)}{b}{_quoted(style_caption)}{c}{inputs}{d}"{layout}"{e}')


def _pieces(facts: Mapping[str, Any]) -> list[str]:
    """The JSON of facts, cut where they are ``BLANK``."""
    return json.dumps(facts, sort_keys=True, ensure_ascii=False).split(_quoted(BLANK))
