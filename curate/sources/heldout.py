"""Which emoji subjects are held out: no training of the zoo sees them, and emoji-bench asks for them.

A function of the subject's name alone, so that sources, trainings and benchmark agree without a list.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import Final

HELDOUT_FRACTION: Final = 0.15


def matching_key(name: str) -> str:
    """The key under which the sets agree on a subject: `red-heart`, `red_heart` and `Red heart` are one."""
    letters = unicodedata.normalize("NFKD", name.lower())
    return re.sub(r"[^a-z0-9]", "", letters)


def is_heldout(subject: str) -> bool:
    """True for 15 % of all names, by blake2b of the name: neither order nor number of the other subjects
    matters."""
    digest = hashlib.blake2b(matching_key(subject).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64 < HELDOUT_FRACTION
