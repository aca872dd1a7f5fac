"""From source items to the plan: the same units in the same order, whatever the folders are called."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from curate.errors import ConfigError, SourceError
from curate.images import FitMode
from curate.item_columns import SUM_BYTES, ItemColumns
from curate.keys import Ints, KeyIndex
from curate.planning.identity import Settings
from curate.planning.order import interleave
from curate.planning.pairs import plan_pairs
from curate.planning.recipes import FromPairConfig, FromStylizedConfig, calls
from curate.planning.stylized import plan_stylized
from curate.records import SourceItem
from curate.unit_columns import Labels, Part, UnitColumns


def build_units(
    recipe: FromStylizedConfig | FromPairConfig, *, items: Mapping[str, Iterable[SourceItem]],
    experts_identity: Mapping[str, Mapping[str, object]], seed: int, size: int, val_fraction: float,
    fit: FitMode = "pad", limit: int | None = None, captioner: Mapping[str, object] | None = None,
) -> UnitColumns:
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
    assert KeyIndex(units.ids).twice is None, "two units would have equal inputs"
    codes, names = units.style_of.items.codes("style")
    return _placed(units, interleave(units.ids, codes[units.style_of.places], names, seed=seed)[:limit])


def _placed(units: UnitColumns, order: Ints) -> UnitColumns:
    def part(one: Part) -> Part:
        return Part(one.role, one.items, one.places[order])

    def labels(one: Labels) -> Labels:
        return Labels(one.values, one.codes[order])

    target, other = part(units.target), part(units.other)
    return UnitColumns(recipe=units.recipe, ids=units.ids[order], layouts=labels(units.layouts),
                       sides=labels(units.sides), target=target, other=other,
                       style_of=target if units.style_of is units.target else other)


def _distinct(items: Mapping[str, Iterable[SourceItem]], name: str) -> ItemColumns:
    """The first item of each hash."""
    found = ItemColumns.of(items.get(name, ()))
    if not len(found):
        raise SourceError(f"sources.{name}: " + ("no images" if name in items else "this source is required"))
    begins = np.sort(np.ascontiguousarray(found.sums[:, :8]).view("u8").ravel())
    if np.all(begins[1:] != begins[:-1]):
        return found
    _, firsts = np.unique(np.ascontiguousarray(found.sums).view(f"V{SUM_BYTES}").ravel(), return_index=True)
    return found.take(np.sort(firsts))
