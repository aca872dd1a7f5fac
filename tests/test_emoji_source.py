"""The emoji source: known subjects and styles, dealt fairly, with licences, from the two installed packages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Set as AbstractSet

import emoji
import numpy as np
import pytest
from pydantic import ValidationError

from curate.errors import SourceError
from curate.images import decode, to_array
from curate.parametric import PRESETS
from curate.sources import EmojiSource
from curate.sources.base import content_hash
from curate.sources.emoji import Drawing, choose_drawings
from curate.sources.emoji_sets import SETS, EmojiSet, emoji_subjects, svg_files
from curate.sources.heldout import is_heldout


def test_subjects_are_things_in_both_sets() -> None:
    subjects = emoji_subjects()
    words = set(subjects.values())
    assert len(words) == len(subjects) > 1200, "no words twice"
    assert {"camel", "tent", "red heart", "pirate flag", "grinning face"} <= words
    assert words.isdisjoint({
        "Italy", "England", "OK button", "keycap 5", "up arrow", "blue heart", "green square", "Aries", "three o’clock",
        "woman running", "person running facing right", "thumbs up dark skin tone"})
    every = {facts["en"].strip(":").replace("_", " ") for facts in emoji.EMOJI_DATA.values()}
    assert {"Italy", "Aries", "woman running", "thumbs up dark skin tone"} <= every, "not just misspelt"
    common = svg_files("twemoji").keys() & svg_files("openmoji").keys()
    assert len(common) > 1200


def test_items_are_labelled_licensed_and_read_back() -> None:
    source = EmojiSource(styles=("as-drawn", "comic-dots"), count=40, size=32)
    items, report = source.scan("input")
    assert report[:2] == (40, 0) and len({item.subject for item in items}) == 40
    assert Counter(item.style for item in items) == dict.fromkeys(
        ("twemoji/as-drawn", "twemoji/comic-dots", "openmoji/as-drawn", "openmoji/comic-dots"), 10)
    for item in items:
        assert content_hash(source.read(item.locator)) == item.sha256
        assert decode(source.read(item.locator)).size == (32, 32)
        assert item.licence == ("CC-BY-4.0" if item.style.startswith("twemoji") else "CC-BY-SA-4.0")
        assert ("restyled" in item.attribution) == item.style.endswith("comic-dots")
        assert item.caption == item.subject != ""
    assert list(items) == list(source.scan("input").items), "the same on every call"


def test_pictures_show_their_subject_in_their_style() -> None:
    source = EmojiSource(size=48)
    camel = next(code for code, words in emoji_subjects().items() if words == "camel")
    plain, styled = (to_array(decode(source.read(f"twemoji/{style}/{camel}"))) for style in ("as-drawn", "blueprint"))
    assert plain[0, 0].tolist() == [255, 255, 255] and (plain != 255).any(axis=2).mean() > 0.2, "drawn over white"
    assert np.abs(plain.astype(int) - styled).mean() > 30


def test_every_preset_can_be_drawn() -> None:
    source = EmojiSource(styles="all", count=2 * (len(PRESETS) + 1), size=24)
    items = source.scan().items
    assert len({item.style for item in items}) == 2 * (len(PRESETS) + 1) >= 54


def deal(count: int | None, *, seed: int = 0) -> list[Drawing]:
    labels = [("x", "a"), ("x", "b"), ("y", "a")]
    codes: dict[str, AbstractSet[str]] = {"x": {f"{i:02x}" for i in range(20)}, "y": {f"{i:02x}" for i in range(5, 25)}}
    return choose_drawings(codes, labels, count=count, seed=seed)


def test_deal_is_fair() -> None:
    drawings = deal(31)
    assert len({d.code for d in deal(25)}) == 25, "no subject twice while others have not been seen"
    assert max(Counter(d.code for d in drawings).values()) == 2
    assert sorted(Counter(d[:2] for d in drawings).values()) == [10, 10, 11]
    assert len(set(deal(60))) == 60 == len(deal(None)), "all there are, none twice"
    assert all(d.code in {f"{i:02x}" for i in range(5, 25)} for d in drawings if d.set_name == "y")
    with pytest.raises(SourceError, match="61 images wanted, and there are 60"):
        deal(61)


def test_a_larger_count_only_adds() -> None:
    assert deal(40)[:13] == deal(13)
    assert deal(13) != deal(13, seed=1)


def test_subjects_of_the_bench_can_be_left_out() -> None:
    items = [EmojiSource(count=300, size=16, heldout=heldout).scan().items for heldout in (True, False)]
    shares = [np.mean([is_heldout(item.subject) for item in some]) for some in items]
    assert len(items[1]) == 300 and shares[0] > 0.08 and shares[1] == 0


def test_unknown_styles_and_sets_are_refused_with_a_hint() -> None:
    with pytest.raises(ValidationError, match="did you mean 'blueprint'"):
        EmojiSource(styles=("bluprint",))
    with pytest.raises(ValidationError):
        EmojiSource.model_validate({"kind": "emoji", "sets": ["noto"]})
    source = EmojiSource.model_validate({"kind": "emoji", "sets": ["openmoji"], "styles": ["sepia"]})
    assert (source.sets, source.styles) == (("openmoji",), ("sepia",))


def test_missing_package_and_missing_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SourceError, match="no drawing 10ffff"):
        EmojiSource().read("twemoji/as-drawn/10ffff")
    gone = EmojiSet("nowhere-emoji", "no_such_module", "svg", "", "")
    monkeypatch.setattr("curate.sources.emoji_sets.SETS", {**SETS, "nowhere": gone})
    with pytest.raises(SourceError, match="pip install nowhere-emoji"):
        svg_files("nowhere")
