"""Pictures of several sizes in portions that one forward pass can take: of equal sizes, and not too many pixels."""

from __future__ import annotations

from collections.abc import Sequence

PORTION_PX = 512 * 512
"""One FLUX picture at a time, all of a compact model's at once."""


def portions(sizes: Sequence[tuple[tuple[int, int], ...]]) -> list[list[int]]:
    """Places of those that share a forward pass. ``sizes``: all that must be equal for it, of each picture; first the
    sides in px of what is drawn or scored."""
    alike: dict[tuple[tuple[int, int], ...], list[int]] = {}
    for place, each in enumerate(sizes):
        alike.setdefault(each, []).append(place)
    found = []
    for ((one, other), *_), places in alike.items():
        most = max(1, PORTION_PX // (one * other))
        found += [places[start : start + most] for start in range(0, len(places), most)]
    return found
