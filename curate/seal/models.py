"""Which models made the kept images, as their candidates' provenance tells it: for the data card."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any


def models_of(provenance: Iterable[str]) -> list[dict[str, str]]:
    """``verb``, ``model`` and ``licence`` of every expert that occurs, each once, in order; "" where it is not told.

    ``provenance``: JSON by unit, as the engine writes it; that of other writers has no experts.
    """
    found: set[tuple[str, str, str]] = set()
    for text in set(provenance):
        experts: dict[str, dict[str, Any]] = json.loads(text).get("experts", {})
        found |= {(verb, str(each.get("model", "")), str(each.get("licence", ""))) for verb, each in experts.items()}
    return [{"verb": verb, "model": model, "licence": licence} for verb, model, licence in sorted(found)]
