"""Unit ids: a hash of everything that determines the images of a unit, and of nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from curate import seeds
from curate.images import FitMode
from curate.interfaces import Layout
from curate.planning.recipes import LAYOUTS, FromPairConfig, FromStylizedConfig, calls, captions_wanted
from curate.planning.subjects import Side
from curate.records import InputRole, SourceItem, Unit


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


def layout_of(settings: Settings, target: SourceItem, draw: int) -> Layout:
    """The configured layout; for ``both`` they take turns, beginning with either by a hash of ``target``."""
    if settings.recipe.layout != "both":
        return settings.recipe.layout
    return LAYOUTS[(draw + seeds.seed(settings.seed, "layout", target.sha256)) % 2]


def make_unit(
    settings: Settings, *, layout: Layout, side: Side, inputs: Mapping[InputRole, SourceItem], caption: str,
    style_caption: str, subject: str, style_subject: str, style: str,
) -> Unit:
    """A unit with its id, not yet placed in the plan (index -1).

    The id covers the recipe's expert calls and the experts that they use, the captioner if it writes for the unit,
    layout, prompts, sha256 of the inputs, seed, size and fit. It leaves out paths and locators, labels that reach no
    model, the split, and how many units there are.
    """
    steps = calls(settings.recipe)
    facts: dict[str, Any] = {
        "recipe": settings.recipe.kind,
        "calls": [[call.makes, call.verb, call.content, call.style, call.prompt] for call in steps],
        "experts": {call.verb: settings.experts[call.verb] for call in steps},
        "layout": layout,
        "captions": [caption, style_caption],
        "inputs": {role: item.sha256 for role, item in inputs.items()},
        "seed": settings.seed,
        "size": settings.size,
        "fit": settings.fit,
    }
    captions = {"caption": caption, "style_caption": style_caption}
    if settings.captioner and any(not captions[field] for field, _ in captions_wanted(settings.recipe)):
        facts["captioner"] = settings.captioner
    return Unit(
        unit_id=seeds.digest(json.dumps(facts, sort_keys=True, ensure_ascii=False)), index=-1,
        recipe=settings.recipe.kind, layout=layout, caption=caption, style_caption=style_caption, subject=subject,
        style_subject=style_subject, style=style, side=side, inputs=inputs,
    )
