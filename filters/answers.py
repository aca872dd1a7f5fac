"""What a judge may answer in writing, and how it is read: strictly, with every number checked against its range.

UNO-1M's published labels contain a part score of 8.5 and a final one of 131184.67. Here an answer that is not in the
form asked for is no answer: ``Form.read`` raises ValueError with the reason, and the judge is asked again.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from filters.rubric import MAX_RATING

T = TypeVar("T")
THOUGHT: Final = re.compile(r"<think>.*?</think>", re.DOTALL)
RATINGS: Final = tuple(str(rating) for rating in range(MAX_RATING + 1))
YES_NO: Final = ("yes", "no")
MAX_PARTS: Final = 50


@dataclass(frozen=True)
class Form(Generic[T]):
    """How to read an answer, what to say when it could not be read, and the JSON schema of it, if it is JSON."""

    read: Callable[[str], T]
    reminder: str
    schema: Mapping[str, Any] | None = None


def read_text(text: str) -> str:
    """Any words at all."""
    words = THOUGHT.sub("", text).strip()
    if not words:
        raise ValueError("an empty answer")
    return words


def choice_form(choices: Sequence[str]) -> Form[str]:
    """One of ``choices``, bare or as {"answer": ...}."""

    def read(text: str) -> str:
        words = read_text(text)
        said = str(read_object(words).get("answer")) if "{" in words else words
        said = said.strip(" \n\t.*\"'`").lower()
        if said not in choices:
            raise ValueError(f"not one of {', '.join(choices)}")
        return said

    schema = {"type": "object", "properties": {"answer": {"enum": list(choices)}}, "required": ["answer"],
              "additionalProperties": False}
    listed = ", ".join(f'"{choice}"' for choice in choices)
    return Form(read, f'Answer with JSON and nothing else: {{"answer": X}}, where X is one of {listed}.', schema)


def read_object(text: str) -> dict[str, Any]:
    """The JSON object in an answer, whatever stands around it."""
    words = read_text(text)
    try:
        found = json.loads(words[words.index("{") : words.rindex("}") + 1])
    except ValueError as error:
        raise ValueError("no JSON object") from error
    if not isinstance(found, dict):
        raise ValueError("no JSON object")
    return found


def read_parts(text: str) -> list[float]:
    """Scores of {"parts": [{"part": ..., "score": ...}]}, each in [0, 4]."""
    parts = read_object(text).get("parts")
    if not isinstance(parts, list) or not 0 < len(parts) <= MAX_PARTS:
        raise ValueError(f'no list "parts" of 1 to {MAX_PARTS} parts')
    scores = []
    for part in parts:
        score = part.get("score") if isinstance(part, dict) else None
        if isinstance(score, bool) or not isinstance(score, int | float):
            raise ValueError("a part without a number as its score")
        if not math.isfinite(score) or not 0 <= score <= MAX_RATING:
            raise ValueError(f"a part score of {score}, outside 0 to {MAX_RATING}")
        scores.append(float(score))
    return scores


TEXT: Final = Form(read_text, "Please answer in words.")
PARTS: Final = Form(
    read_parts,
    'Answer with JSON and nothing else: {"parts": [{"part": "name", "score": N}]}, every N from 0 to 4.',
    {"type": "object", "required": ["parts"], "additionalProperties": False, "properties": {"parts": {
        "type": "array", "minItems": 1, "maxItems": MAX_PARTS, "items": {
            "type": "object", "required": ["part", "score"], "additionalProperties": False, "properties": {
                "part": {"type": "string"}, "score": {"type": "integer", "minimum": 0, "maximum": MAX_RATING}}}}}},
)
