"""A train/val split that leaks neither a subject nor a look-alike.

Planning puts each subject on one side by a hash and draws the style reference's subject from the same side, so a clean
plan loses nothing here. What planning cannot know is checked on the units that would be kept:
  * a subject (of the target or of the style reference) that stands on both sides, as when two sources write it in
    different case, or a prompt names a subject of the other side;
  * a val target that looks like a train target (perceptual hash), whatever their subjects are called.
The val unit is rejected: val is the smaller side, and a leak falsifies val, not train.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from curate.records import Unit
from curate.seal.near_duplicates import HashIndex

LEAK = "leaks across the split"


def target_source(unit: Unit) -> str:
    """The image that gives a target its structure, as sha256: the stylized input, else the content, else the unit."""
    for role in ("stylized", "content"):
        item = unit.inputs.get(role)
        if item is not None:
            return item.sha256
    return unit.unit_id


def subjects(unit: Unit) -> set[str]:
    """Keys of the unit's two subjects: words without case and outer blanks, or the image's sha256 where none are known.

    A style image (not made for this unit) without subject words has no key: its subject is unknown, and its style is
    meant to be shared by many units.
    """
    second = unit.inputs.get("subject")
    keys = {_key(unit.subject, target_source(unit)), _key(unit.style_subject, second.sha256 if second else "")}
    return keys - {""}


def _key(words: str, sha256: str) -> str:
    return " ".join(words.casefold().split()) or sha256


def leaking_units(kept: Sequence[Unit], bits: Mapping[str, int], *, max_distance: int = 0) -> set[str]:
    """Val units that leak, among units that would be kept. ``bits``: their hashes; empty = look at subjects only."""
    train = [unit for unit in kept if unit.side == "train"]
    seen = {key for unit in train for key in subjects(unit)}
    index = HashIndex(len(train), max_distance)
    for unit in train:
        if unit.unit_id in bits:
            index.add(unit.unit_id, bits[unit.unit_id])
    leaks = set()
    for unit in kept:
        look_alike = unit.unit_id in bits and unit.side == "val" and index.find(bits[unit.unit_id]) is not None
        if unit.side == "val" and (look_alike or not subjects(unit).isdisjoint(seen)):
            leaks.add(unit.unit_id)
    return leaks
