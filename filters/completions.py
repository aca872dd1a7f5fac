"""What a chat completion says, read with suspicion: servers differ, and a proxy may answer anything with status 200."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from filters.judging import RAW_CHARS, Chances

SLACK: Final = 1e-3
"""By which probabilities may exceed 1: servers round."""


class Answer(NamedTuple):
    """``text``; ``top``: (token, log-probability) of the alternatives at the first place with a visible token, None
    where the server tells none; ``raw``: for the record.
    """

    text: str
    top: tuple[tuple[str, float], ...] | None
    raw: str


def read_completion(completion: Any) -> Answer:
    """The first choice of a completion; an empty answer, with the evidence, where it has no such thing."""
    try:
        choice = completion.choices[0]
        text = choice.message.content or ""
        if not isinstance(text, str):
            raise TypeError(f"content is a {type(text).__name__}")
    except (AttributeError, IndexError, KeyError, TypeError):
        return Answer("", None, f"not a chat completion: {str(completion)[:RAW_CHARS]}")
    return Answer(text, _top(choice), text)


def read_chances(answer: Answer, choices: Sequence[str], min_mass: float) -> Chances:
    """Probabilities among ``choices``, spellings of one added up.

    ValueError where the numbers are no log-probabilities, or all choices together have less than ``min_mass``.
    """
    masses = dict.fromkeys(choices, 0.0)
    for token, logprob in answer.top or ():
        if not logprob <= SLACK:  # NaN too
            raise ValueError(f"a log-probability of {logprob}")
        if (said := token.strip().lower()) in masses:
            masses[said] += math.exp(logprob)
    total = sum(masses.values())
    if total > 1 + SLACK:
        raise ValueError(f"probabilities that add up to {total:.3f}")
    if total < max(min_mass, 1e-9):
        raise ValueError(f"{', '.join(choices)} have {total:.3f} of the answer's probability")
    return tuple(mass / total for mass in masses.values())


def certain(choice: str, choices: Sequence[str]) -> Chances:
    """All probability on one choice: an answer in writing."""
    return tuple(float(each == choice) for each in choices)


def _top(choice: Any) -> tuple[tuple[str, float], ...] | None:
    try:
        for place in choice.logprobs.content:
            if place.token.strip() and place.top_logprobs:
                return tuple((str(each.token), float(each.logprob)) for each in place.top_logprobs)
    except (AttributeError, TypeError, ValueError):
        pass
    return None
