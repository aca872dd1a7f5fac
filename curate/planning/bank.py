"""New subjects for style references: plain images, or only words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from curate.errors import SourceError
from curate.files import read_bytes
from curate.planning.draws import FairDraw
from curate.planning.nouns import NOUNS
from curate.planning.recipes import FromStylizedConfig
from curate.planning.subjects import Named, identity, phrase_of, subject_key, words_of
from curate.records import SourceItem


class NewSubject(NamedTuple):
    """What a style reference may show."""

    key: str
    """Distinct in a bank, and free of places: the image's content hash, or the words' key."""
    identity: str
    words: str
    subject: str
    style: str
    item: SourceItem | None
    """The plain image; None = only words."""


def new_subjects(recipe: FromStylizedConfig, items: Sequence[SourceItem] | None, *, may_be_mute: bool = False,
                 ) -> list[NewSubject]:
    """The bank of a recipe, ordered by key. SourceError where the recipe needs images or words that are not there.

    ``may_be_mute``: a captioner will write the words of images that have none.
    """
    if recipe.new_subject == "prompt":
        if recipe.words is not None:
            return _by_words(_read_words(recipe.words))
        return _by_words(NOUNS if items is None else (item.subject or item.caption for item in items))
    if not items:
        raise SourceError(f"recipe.new_subject: {recipe.new_subject} needs a source `subjects` with plain images "
                          "(or set recipe.new_subject: prompt)")
    if recipe.new_subject == "both" and not may_be_mute and (mute := sum(not words_of(item) for item in items)):
        raise SourceError(f"recipe.new_subject: both needs words, and {mute} of {len(items)} images in the source "
                          "`subjects` have neither caption nor subject (a captioner writes them)")
    bank = {item.sha256: NewSubject(item.sha256, identity(item), words_of(item), item.subject, item.style, item)
            for item in items}
    return [bank[key] for key in sorted(bank)]


def _by_words(words: Iterable[str]) -> list[NewSubject]:
    bank = {key: NewSubject(key, key, text, text, "", None) for text in sorted(words) if (key := subject_key(text))}
    if not bank:
        raise SourceError("recipe.new_subject: prompt needs words, and the source `subjects` has neither captions nor "
                          "subjects")
    return [bank[key] for key in sorted(bank)]


def _read_words(path: str) -> list[str]:
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except (OSError, ValueError) as error:
        raise SourceError(f"{path} (recipe.words): cannot be read: {error}") from error
    words = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not words:
        raise SourceError(f"{path} (recipe.words): holds no words")
    return words


class Pool:
    """The part of a bank that some targets draw from (one side of the split, one emoji set)."""

    def __init__(self, bank: Sequence[NewSubject], *, draws: int, seed: int) -> None:
        self.bank = bank
        self._draw = FairDraw([entry.key for entry in bank], draws=draws, seed=seed)
        self._keys = {entry.key: i for i, entry in enumerate(bank)}
        self._identities: defaultdict[str, list[int]] = defaultdict(list)
        self._named = Named(phrase_of(entry.subject or entry.words) for entry in bank)
        for i, entry in enumerate(bank):
            self._identities[entry.identity].append(i)

    def banned(self, target: SourceItem) -> tuple[int, ...]:
        """Positions in the bank of what the target shows: its subject, and whatever its caption names: a picture of a
        cat on a sofa gets neither cat nor sofa."""
        own = self._identities.get(identity(target), ())
        same = (self._keys[target.sha256],) if target.sha256 in self._keys else ()
        return tuple({*own, *same, *self._named.within(f"{target.subject} {target.caption}")})

    def like(self, position: int) -> list[int]:
        """All positions that show what this one shows."""
        return self._identities[self.bank[position].identity]

    def take(self, sums: Sequence[str], banned: Sequence[Collection[int]], *, draw: int) -> list[int | None]:
        """Positions in the bank for targets by their sha256, other than those ``banned`` to each; None if all are."""
        return self._draw.take([f"{sha256} {draw}" for sha256 in sums], banned)
