"""What stands out in a run: a few sentences, worst first, that a person would otherwise have to look for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

from curate.progress import count
from curate.report.page.html import percent
from curate.report.stats import NOT_STATED

MAX_NOTES = 6
MIN_UNITS = 4
"""Of a style or layout before its yield is worth a sentence."""
GAP = 0.15
"""Difference of yields between layouts or experts that is worth a sentence."""
LEVELS = ("bad", "watch", "good")


class Note(NamedTuple):
    """One sentence and how it is meant."""

    level: Literal["bad", "watch", "good"]
    text: str


def notes(stats: Mapping[str, Any], rules: list[dict[str, Any]]) -> list[Note]:
    """At most ``MAX_NOTES``, bad ones first. ``stats``: what ``collect`` returned."""
    found = [*_unfinished(stats), *_failures(stats), *_styles(stats), *_gaps(stats), *_reasons(stats, rules),
             *_splits(stats), *_licences(stats), *_captions(stats)]
    return sorted(found, key=lambda note: LEVELS.index(note.level))[:MAX_NOTES]


def _unfinished(stats: Mapping[str, Any]) -> Iterator[Note]:
    funnel = stats["funnel"]
    if not stats["sealed"]:
        yield Note("watch", "Not sealed yet: the counts below are what the rules of the config would do.")
    if stats["made_since_seal"]:
        yield Note("watch", f"{stats['made_since_seal']:,} more were made since the seal: seal again to count them.")
    if funnel["pending"]:
        yield Note("watch", f"{funnel['pending']:,} units are pending: run the same command again to finish them.")
    if stats["sealed"] and not funnel["kept"]:
        yield Note("bad", "Nothing was kept.")


def _failures(stats: Mapping[str, Any]) -> Iterator[Note]:
    failed, errors = stats["funnel"]["failed"], stats["errors"]
    if failed:
        where = ", ".join(f"{stage} {n:,}" for stage, n in stats["failed_in"].items())
        yield Note("bad", f"{failed:,} units failed ({where}).")
    if errors:
        told = ", ".join(f"{name} on {n:,} units" for name, n in errors.items())
        yield Note("bad", f"Scorers raised errors: {told}.")
    if not failed and not errors and not stats["funnel"]["pending"]:
        yield Note("good", "Every planned unit was made and scored; nothing failed.")


def _styles(stats: Mapping[str, Any]) -> Iterator[Note]:
    judged = {name: row for name, row in stats["yield"]["style"].items() if row["yield"] is not None}
    empty = [name for name, row in judged.items() if not row["kept"] and row["planned"] >= MIN_UNITS]
    if empty and stats["funnel"]["kept"]:
        named = ", ".join(empty[:3]) + (f" and {len(empty) - 3:,} more" if len(empty) > 3 else "")
        yield Note("bad", f"No triplet was kept of {count(len(empty), 'style')}: {named}.")
    elif len(judged) > 1:
        none = sum(not row["kept"] for row in judged.values())
        if none:
            yield Note("watch", f"{none:,} of {count(len(judged), 'style')} have no kept triplet, each of fewer than "
                                f"{MIN_UNITS} units.")
        else:
            yield Note("good", f"All {len(judged):,} styles have kept triplets.")


def _gaps(stats: Mapping[str, Any]) -> Iterator[Note]:
    for what in ("layout", "source"):
        rows = [(row["yield"], name) for name, row in stats["yield"].get(what, {}).items()
                if row["yield"] is not None and row["planned"] >= MIN_UNITS]
        if len(rows) > 1 and max(rows)[0] - min(rows)[0] >= GAP:
            (low, worst), (high, best) = min(rows), max(rows)
            yield Note("watch", f"Yield differs by {what}: {percent(low)} of {worst}, {percent(high)} of {best}.")


def _reasons(stats: Mapping[str, Any], rules: list[dict[str, Any]]) -> Iterator[Note]:
    rejected = stats["funnel"]["rejected"]
    told = [row for row in stats["reasons"] if row["status"] == "rejected"]
    if told and len(told) > 1 and told[0]["units"] >= 0.4 * rejected:
        share = percent(told[0]["units"] / rejected)
        yield Note("watch", f"One reason makes {share} of the rejections: {told[0]['reason']}.")
    if stats["sealed"]:
        said = {row["reason"] for row in told}
        idle = [rule for rule in rules if not said & {rule["reason"], *(f"{rule['column']} {how}" for how in
                                                                      ("too low", "too high", "missing"))}]
        if idle:
            names = ", ".join(dict.fromkeys(rule["column"] for rule in idle))
            of = count(len(rules), "rule")
            yield Note("watch", f"{len(idle)} of {of} rejected nothing that others had not: {names}.")
        if not rules:
            yield Note("watch", "There are no rules: whatever was made was kept.")


def _splits(stats: Mapping[str, Any]) -> Iterator[Note]:
    splits = stats["splits"]
    if splits and "val" not in splits:
        yield Note("watch", "No triplet is on the val side.")


def _licences(stats: Mapping[str, Any]) -> Iterator[Note]:
    unknown = stats["licences"].get(NOT_STATED, {}).get("kept", 0)
    if unknown:
        yield Note("bad", f"{unknown:,} kept triplets have an input image without a stated licence.")


def _captions(stats: Mapping[str, Any]) -> Iterator[Note]:
    empty = stats["uncaptioned"]
    if empty["kept"]:
        of = count(stats["funnel"]["kept"], "kept triplet")
        yield Note("bad", f"{empty['kept']:,} of {of} have an empty caption: the text that a model is trained with.")
    elif empty["planned"]:
        of = count(stats["funnel"]["planned"], "unit")
        yield Note("watch", f"{empty['planned']:,} of {of} have an empty caption.")
