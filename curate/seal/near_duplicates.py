"""Near-duplicates: targets whose perceptual hashes differ in a few bits only. The first of them in the plan is kept."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from curate.config import StrictModel
from curate.seal.look_alikes import Ints, LookAlikes


class NearDuplicateConfig(StrictModel):
    """Reject the later (in plan order) of two kept targets that look alike but come of different sources."""

    column: str = "phash.bits"
    """A 64-bit hash as int64; similar images differ in few bits."""
    max_distance: int = Field(default=4, ge=0, le=31)
    """Bits. Unrelated images differ in about 32 of 64; 4 survives recompression and small crops."""


def find_twins(alike: LookAlikes, sources: Ints, members: Ints) -> Ints:
    """(N,) for a rejected unit the earlier kept unit that it looks like, -1 for all others.

    ``sources`` (N,) numbers; ``members``: positions of the units to compare, rising. Two units of the same source (one
    target in both layouts, one content in many styles) share their structure by design and are no duplicates of each
    other. Units of one hash and one source share their fate: whatever rejects the first is there for the second, and
    the first, if it stays, keeps away whatever could reject the second. So only hashes that another source comes near
    are gone through one by one.
    """
    twins = np.full(len(sources), -1, dtype=np.int64)
    codes = alike.codes[members]
    some_source = np.full(alike.count, -1, dtype=np.int64)
    some_source[codes] = sources[members]
    present = some_source >= 0
    entangled = np.zeros(alike.count, dtype=bool)
    entangled[codes[some_source[codes] != sources[members]]] = True
    entangled[alike.left[present[alike.right]]] = True
    members = members[entangled[codes]]
    if not len(members):
        return twins
    groups = alike.codes[members] * (int(sources.max()) + 1) + sources[members]
    _, firsts, group_of = np.unique(groups, return_index=True, return_inverse=True)
    fate = np.full(len(firsts), -1, dtype=np.int64)
    kept: dict[int, tuple[int, int]] = {}
    """Hash -> (position, source) of the one kept group that has it."""
    for group in np.argsort(members[firsts]):
        unit = int(members[firsts[group]])
        code, source = int(alike.codes[unit]), int(sources[unit])
        near = [kept[c] for c in (code, *alike.neighbours(code).tolist()) if c in kept]
        fate[group] = min((position for position, of in near if of != source), default=-1)
        if fate[group] < 0:
            kept.setdefault(code, (unit, source))
    twins[members] = fate[group_of]
    return twins

