"""A train/val split that leaks neither a subject nor a look-alike.

Planning puts each subject on one side by a hash and draws the style reference's subject from the same side, so a clean
plan loses nothing here. What planning cannot know is checked on the units that would be kept:
  * a subject (of the target or of the style reference) that stands on both sides, as when two sources write it in
    different case, or a prompt names a subject of the other side;
  * a val target that looks like a train target (perceptual hash), whatever their subjects are called.
The val unit is rejected: val is the smaller side, and a leak falsifies val, not train.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from curate import seeds
from curate.records import InputRole
from curate.seal.look_alikes import Bools, Ints, LookAlikes
from curate.unit_columns import CHUNK

LEAK = "leaks across the split"
TARGETS: tuple[InputRole, ...] = ("stylized", "content")


class Keys(NamedTuple):
    """Who is in a unit, as 63-bit hashes that are equal for equal things in any run; 0 = unknown."""

    source: int
    """The image that gives the target its structure: the stylized input, else the content, else the unit itself."""
    subject: int
    """Of the target: its words without case and outer blanks, or the source image where no words are known."""
    style_subject: int
    """Of the style reference, where it was made for this unit; of a given style image without words nothing is known,
    and its style is meant to be shared by many units."""


def keys_of(plan: pa.Table) -> Ints:
    """(3, N) what each unit of a plan shares with others: the ``Keys`` as rows."""
    source, subject = seeds.Digests("source", size=8), seeds.Digests("subject", size=8)

    def named(words: str, sha256: str) -> int:
        name = " ".join(words.casefold().split()) or sha256
        return _number(subject(name)) if name else 0

    parts = [np.zeros((0, 3), dtype=np.int64)]
    for batch in plan.select(["unit_id", "subject", "style_subject", "inputs"]).to_batches(max_chunksize=CHUNK):
        found = []
        for unit_id, words, style_words, inputs in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            sums = {one["role"]: one["sha256"] for one in inputs}
            target = next((sums[role] for role in TARGETS if role in sums), unit_id)
            found.append((_number(source(target)), named(words, target), named(style_words, sums.get("subject", ""))))
        parts.append(np.array(found, dtype=np.int64).reshape(-1, 3))
    return np.concatenate(parts).T


def _number(digest: bytes) -> int:
    return int.from_bytes(digest, "big") >> 1


def leaking(subjects: Ints, val: Bools, kept: Bools, alike: LookAlikes | None, hashed: Bools) -> Bools:
    """(N,) val units that leak, among the ``kept``.

    ``subjects`` (2, N): numbers from 0 of the targets' and the style references' subjects, -1 = unknown; ``alike``:
    None = look at subjects only; ``hashed`` (N,): which units have a hash.
    """
    train, at_risk = kept & ~val, kept & val
    seen = np.zeros(int(subjects.max(initial=-1)) + 2, dtype=bool)
    seen[subjects[:, train]] = True
    seen[-1] = False  # where the unknown subjects' -1 points
    leaks: Bools = at_risk & seen[subjects].any(axis=0)
    if alike is not None:
        present = np.zeros(alike.count, dtype=bool)
        present[alike.codes[train & hashed]] = True
        looks = np.flatnonzero(at_risk & hashed)
        leaks[looks] |= alike.near_any(present)[alike.codes[looks]]
    return leaks
