"""Plan of the recipe from_stylized: every image of the source is a target; who is drawn anew is a fair draw."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from curate import seeds
from curate.errors import SourceError
from curate.interfaces import Layout
from curate.planning.bank import NewSubject, Pool, new_subjects
from curate.planning.identity import Settings, layout_of, make_unit
from curate.planning.recipes import FromStylizedConfig
from curate.planning.subjects import Side, identity, side_of, words_of
from curate.records import InputRole, SourceItem, Unit

Corner = tuple[Side, str]
"""Targets that draw from one pool: their side of the split, and their emoji set if that has to match (else "")."""


def plan_stylized(
    recipe: FromStylizedConfig, settings: Settings, *, targets: Sequence[SourceItem],
    subjects: Sequence[SourceItem] | None,
) -> list[Unit]:
    """``per_target`` units of every target. SourceError where a target has too few other subjects on its side."""
    bank = new_subjects(recipe, subjects, may_be_mute=settings.captioner is not None)
    ordered = sorted(targets, key=lambda item: seeds.digest(settings.seed, "target", item.sha256))
    corners = {item.sha256: _corner(recipe, settings, identity(item), item.style) for item in ordered}
    pools = _pools(recipe, settings, bank, Counter(corners.values()))
    taken: dict[str, list[str]] = {item.sha256: [] for item in ordered}
    units = []
    for draw in range(recipe.per_target):
        for target in ordered:
            corner = corners[target.sha256]
            new = pools[corner].take(target, draw=draw, taken=taken[target.sha256])
            if new is None:
                raise SourceError(_too_few(recipe, settings, target, corner, len(pools[corner].bank)))
            taken[target.sha256].append(new.identity)
            units.append(_unit(settings, target, new, side=corner[0], layout=layout_of(settings, target, draw)))
    return units


def _corner(recipe: FromStylizedConfig, settings: Settings, who: str, style: str) -> Corner:
    side = side_of(who, seed=settings.seed, val_fraction=settings.val_fraction)
    return side, style.partition("/")[0] if recipe.match_set else ""


def _pools(
    recipe: FromStylizedConfig, settings: Settings, bank: Sequence[NewSubject], targets: Counter[Corner],
) -> dict[Corner, Pool]:
    entries: dict[Corner, list[NewSubject]] = {corner: [] for corner in targets}
    for entry in bank:
        corner = _corner(recipe, settings, entry.identity, entry.style)
        if corner in entries:
            entries[corner].append(entry)
    return {corner: Pool(members, draws=targets[corner] * recipe.per_target, seed=settings.seed)
            for corner, members in entries.items()}


def _unit(settings: Settings, target: SourceItem, new: NewSubject, *, side: Side, layout: Layout) -> Unit:
    inputs: dict[InputRole, SourceItem] = {"stylized": target}
    if new.item is not None:
        inputs["subject"] = new.item
    return make_unit(settings, layout=layout, side=side, inputs=inputs, caption=words_of(target),
                     style_caption=new.words, subject=target.subject, style_subject=new.subject, style=target.style)


def _too_few(recipe: FromStylizedConfig, settings: Settings, target: SourceItem, corner: Corner, there: int) -> str:
    side, emoji_set = corner
    of_set = f" of the set {emoji_set!r}" if recipe.match_set else ""
    advice = "give more subjects" + (", a smaller recipe.per_target" if recipe.per_target > 1 else "") + (
        ", or set val_fraction: 0" if settings.val_fraction else "")
    return (f"sources.subjects: {target.uri} is on the {side} side and needs {recipe.per_target} other subject(s)"
            f"{of_set} from that side, where the bank has {there} in all: {advice}")
