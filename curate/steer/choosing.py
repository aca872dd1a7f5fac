"""K of N: balanced over styles and subjects, and as different from one another as can be.

Farthest-point sampling (Gonzalez 1985; the greedy 2-approximation of k-centre) under quotas: the next one is of the
style with the fewest so far, in it of the subject with the fewest so far, and of these the one farthest from all that
were chosen. Whatever is too near to a chosen one is a near-duplicate and never chosen. Ties go to the first by a hash
of the id, so the choice is a function of the units, whatever their order. Time grows with K x N.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from curate.seeds import digest

Floats = npt.NDArray[np.float32]


class Candidate(NamedTuple):
    """What is known of a unit beside its vector."""

    unit_id: str
    style: str
    subject: str


class Choice(NamedTuple):
    """The chosen in the order of choosing, and how many others are near-duplicates of them."""

    unit_ids: list[str]
    duplicates: int


def choose(candidates: Sequence[Candidate], vectors: Floats, count: int, *, max_similarity: float) -> Choice:
    """``vectors`` (N, D) of length 1. Fewer than ``count`` come back when the rest are near-duplicates."""
    order = sorted(range(len(candidates)), key=lambda i: digest("choose", candidates[i].unit_id))
    ordered = [candidates[i] for i in order]
    vectors = np.ascontiguousarray(vectors[order])
    subjects = _numbered([one.subject or one.unit_id for one in ordered])
    styles = _numbered([one.style for one in ordered])
    members = [np.flatnonzero(styles == style) for style in range(int(styles.max(initial=-1)) + 1)]
    nearest = np.full(len(ordered), -1.0, dtype=np.float32)
    """(N,) cosine with the most similar chosen one."""
    of_subject = np.zeros(int(subjects.max(initial=-1)) + 1, dtype=np.int64)
    of_style = np.zeros(len(members), dtype=np.int64)
    chosen: list[int] = []
    is_chosen = np.zeros(len(ordered), dtype=bool)
    while len(chosen) < count and members:
        style = int(of_style.argmin())
        open_ = members[style]
        open_ = open_[~is_chosen[open_] & (nearest[open_] <= max_similarity)]
        if not len(open_):
            if of_style[style] == np.iinfo(np.int64).max:
                break
            of_style[style] = np.iinfo(np.int64).max  # nothing left of it
            continue
        members[style] = open_
        rare = open_[of_subject[subjects[open_]] == of_subject[subjects[open_]].min()]
        one = int(rare[nearest[rare].argmin()])
        chosen.append(one)
        is_chosen[one] = True
        of_style[style] += 1
        of_subject[subjects[one]] += 1
        np.maximum(nearest, vectors @ vectors[one], out=nearest)
    alike = int((~is_chosen & (nearest > max_similarity)).sum())
    return Choice([ordered[i].unit_id for i in chosen], alike)


def _numbered(names: Sequence[str]) -> npt.NDArray[np.int64]:
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], dtype=np.int64)
