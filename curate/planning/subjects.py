"""Who shows what: when two images count as the same subject, and on which side of the split a subject is."""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

from curate import seeds
from curate.records import SourceItem

Side = Literal["train", "val"]
SIDES: tuple[Side, ...] = ("train", "val")

_WORDS = re.compile(r"\w+")
_ARTICLES = frozenset({"a", "an", "the"})


def subject_key(words: str) -> str:
    """``The Red-Heart`` and ``red heart`` are one subject: case, punctuation and articles say nothing."""
    found: list[str] = _WORDS.findall(unicodedata.normalize("NFKC", words).casefold().replace("_", " "))
    return " ".join(word for word in found if word not in _ARTICLES)


def phrases(words: str, *, longest: int = 4) -> frozenset[str]:
    """All runs of up to ``longest`` words in a text, plurals cut down, so that ``two red cats`` has ``red cat``."""
    found = phrase_of(words).split()
    return frozenset(" ".join(found[i:j]) for i in range(len(found))
                     for j in range(i + 1, min(i + longest, len(found)) + 1))


def phrase_of(words: str) -> str:
    """A whole text as ``phrases`` has it: ``The Red Cats`` is ``red cat``."""
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
