"""Randomness as a function of position: every seed is a blake2b hash of names, never arrival order."""

from __future__ import annotations

import hashlib


def digest(*parts: str | int | bytes, size: int = 16) -> str:
    """Hex blake2b (``size`` bytes) over length-prefixed parts, so ("ab","c") and ("a","bc") differ."""
    h = hashlib.blake2b(digest_size=size)
    for part in parts:
        h.update(_prefixed(part))
    return h.hexdigest()


class Digests:
    """``digest(*first, part)`` as bytes for many parts: what they have in common is hashed once."""

    def __init__(self, *first: str | int | bytes, size: int = 16) -> None:
        self._begun = hashlib.blake2b(digest_size=size)
        for part in first:
            self._begun.update(_prefixed(part))

    def __call__(self, part: str | bytes) -> bytes:
        h, raw = self._begun.copy(), part.encode() if isinstance(part, str) else part
        h.update(len(raw).to_bytes(8, "little") + raw)
        return h.digest()


def _prefixed(part: str | int | bytes) -> bytes:
    raw = part if isinstance(part, bytes) else str(part).encode()
    return len(raw).to_bytes(8, "little") + raw


def seed(*parts: str | int | bytes) -> int:
    """A 63-bit seed (fits torch.Generator and numpy) from the parts."""
    return int(digest(*parts, size=8), 16) >> 1


def uniform(*parts: str | int | bytes) -> float:
    """A number in [0, 1) from the parts: for splits that do not depend on order."""
    return int(digest(*parts, size=8), 16) / 2.0**64
