"""From source items to the plan: the same units in the same order, whatever the folders are called."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from curate.errors import ConfigError, SourceError
from curate.images import FitMode
from curate.planning.identity import Settings
from curate.planning.order import interleave
from curate.planning.pairs import plan_pairs
from curate.planning.recipes import FromPairConfig, FromStylizedConfig, calls
from curate.planning.stylized import plan_stylized
from curate.records import SourceItem, Unit


def build_units(
    recipe: FromStylizedConfig | FromPairConfig, *, items: Mapping[str, Sequence[SourceItem]],
    experts_identity: Mapping[str, Mapping[str, object]], seed: int, size: int, val_fraction: float,
    fit: FitMode = "pad", limit: int | None = None, captioner: Mapping[str, object] | None = None,
) -> list[Unit]:
    """The plan of a run.

    ``items`` by source name: from_stylized takes ``input`` and ``subjects``, from_pair ``contents`` and ``styles``;
    items of one content hash count once. ``experts_identity`` by verb. ``captioner``: identity of the model that will
    write missing captions. ``size`` in pixels. ``limit`` cuts the finished plan: its units are the first units of the
    whole plan.

    Moving or renaming files, and listing them in another order, changes nothing. A changed caption changes the ids of
    the units that use it; a changed seed, size, fit or expert changes all. One more image in a source leaves nearly all
    other units as they are (see ``planning.draws``), though it may move them within the plan.
    Raises SourceError where the sources cannot give what the recipe wants.
    """
    for verb in {call.verb for call in calls(recipe)}:
        if verb not in experts_identity:
            raise ConfigError(f"the recipe {recipe.kind} needs an expert that can {verb}", key=f"experts.{verb}")
    settings = Settings(recipe, experts_identity, seed, size, fit, val_fraction, captioner)
    if isinstance(recipe, FromStylizedConfig):
        subjects = _distinct(items, "subjects") if "subjects" in items else None
        units = plan_stylized(recipe, settings, targets=_distinct(items, "input"), subjects=subjects)
    else:
        units = plan_pairs(recipe, settings, contents=_distinct(items, "contents"), styles=_distinct(items, "styles"))
    ordered = interleave(units, seed=seed)
    assert len({unit.unit_id for unit in ordered}) == len(ordered), "two units would have equal inputs"
    return [dataclasses.replace(unit, index=index) for index, unit in enumerate(ordered[:limit])]


def _distinct(items: Mapping[str, Sequence[SourceItem]], name: str) -> list[SourceItem]:
    if not items.get(name):
        raise SourceError(f"sources.{name}: " + ("no images" if name in items else "this source is required"))
    return list({item.sha256: item for item in reversed(items[name])}.values())
