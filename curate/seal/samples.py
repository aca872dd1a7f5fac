"""What a kept unit looks like inside a shard: its members, in a fixed order.

Everything in ``.json`` has the same keys and types in every sample, or Arrow-based loaders refuse the shard; that is
why inputs are a list and provenance, which differs between recipes, is a JSON string.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from curate.interfaces import ROLES
from curate.records import Unit
from curate.seal.config import SealConfig
from curate.seal.encode import encode_image

Members = list[tuple[str, bytes]]


def member_suffixes(config: SealConfig) -> tuple[str, ...]:
    """The suffixes of a sample's members after its key, in order."""
    return (*(f"{role}.{config.format}" for role in ROLES), "txt", "json")


def build_sample(unit: Unit, images: Mapping[str, bytes], scores: Mapping[str, Any], provenance: str,
                 config: SealConfig) -> Members:
    """Names and bytes of the members. ``images``: candidate PNG by role; ``provenance``: JSON of the ledger.

    Nothing of the run's folder, machine, engine or time: an input's ``uri`` and ``locator`` stay in the plan.
    """
    data = [encode_image(images[role], config) for role in ROLES]
    data += [unit.caption.encode(), dump_json(describe(unit, scores, provenance)).encode()]
    return [(f"{unit.unit_id}.{suffix}", part) for suffix, part in zip(member_suffixes(config), data, strict=True)]


def describe(unit: Unit, scores: Mapping[str, Any], provenance: str) -> dict[str, Any]:
    """The sample's ``.json``."""
    inputs = [{"role": role, "source": item.source, "sha256": item.sha256, "caption": item.caption,
               "licence": item.licence, "attribution": item.attribution} for role, item in sorted(unit.inputs.items())]
    return {
        "unit_id": unit.unit_id, "recipe": unit.recipe, "layout": unit.layout, "caption": unit.caption,
        "style_caption": unit.style_caption, "subject": unit.subject, "style_subject": unit.style_subject,
        "style": unit.style, "split": unit.side, "inputs": inputs, "provenance": provenance,
        "scores": {name: plain_number(value) for name, value in scores.items()},
    }


def plain_number(value: Any) -> float | int | None:
    """A score as JSON has it: missing is null, an integer stays whole, float32 with its shortest digits."""
    if value is None or value is np.ma.masked or not isinstance(value, int | float | np.integer | np.floating):
        return None
    if isinstance(value, int | np.integer):
        return int(value)
    return float(str(np.float32(value))) if math.isfinite(value) else None


def dump_json(value: Any) -> str:
    """The text of a sample's ``.json``."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False)
