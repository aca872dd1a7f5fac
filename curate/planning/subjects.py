"""Who shows what: when two images count as the same subject, and on which side of the split a subject is."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache
from typing import Literal

from curate import seeds
from curate.records import SourceItem

Side = Literal["train", "val"]
SIDES: tuple[Side, ...] = ("train", "val")

LONGEST = 4
"""Words of a subject that is looked for in captions."""

_WORDS = re.compile(r"\w+")
_ARTICLES = frozenset({"a", "an", "the"})


@lru_cache(maxsize=1 << 14)
def subject_key(words: str) -> str:
    """``The Red-Heart`` and ``red heart`` are one subject: case, punctuation and articles say nothing."""
    found: list[str] = _WORDS.findall(unicodedata.normalize("NFKC", words).casefold().replace("_", " "))
    return " ".join(word for word in found if word not in _ARTICLES)


class Named:
    """Finds phrases in texts, as ``phrase_of`` has them, so that ``two red cats`` names ``red cat``."""

    def __init__(self, named: Iterable[str]) -> None:
        self._positions: defaultdict[str, list[int]] = defaultdict(list)
        self._lengths: defaultdict[str, set[int]] = defaultdict(set)
        """First word -> how many words the phrases have that begin with it."""
        for i, phrase in enumerate(named):
            words = phrase.split()
            if 1 <= len(words) <= LONGEST:
                self._positions[phrase].append(i)
                self._lengths[words[0]].add(len(words))

    def within(self, text: str) -> set[int]:
        """Positions of the phrases that stand in a text."""
        words = phrase_of(text).split()
        found: set[int] = set()
        for i, word in enumerate(words):
            for length in self._lengths.get(word, ()):
                found.update(self._positions.get(" ".join(words[i:i + length]), ()))
        return found


def names(text: str, words: str) -> bool:
    """Whether a text names what the words name."""
    return bool(Named([phrase_of(words)]).within(text))


def phrase_of(words: str) -> str:
    """A text without case, articles and plurals: ``The Red Cats`` is ``red cat``."""
    return " ".join(word[:-1] if len(word) > 3 and word.endswith("s") else word for word in subject_key(words).split())


def identity(item: SourceItem) -> str:
    """What the item shows: its subject's key, or its content hash where no words are known."""
    return subject_key(item.subject) or item.sha256


def side_of(identity: str, *, seed: int, val_fraction: float) -> Side:
    """All images of a subject are on one side, whatever else is in the source."""
    return "val" if seeds.uniform(seed, "split", identity) < val_fraction else "train"


def words_of(item: SourceItem) -> str:
    """What a prompt or a caption says of it: the caption, else the subject; may be empty."""
    return item.caption or item.subject
