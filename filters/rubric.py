"""Rubrics: what a judge is asked about a triplet, as files. Shipped ones lie in ``filters/rubrics``.

A rubric is a list of questions, each with its images and its kind of answer:

    rating    one digit from 0 to 4; the score is its expectation over the answer's probabilities
    votes     yes or no to several wordings; how many say yes, and with which probability
    parts     a talk in rounds whose last answer scores the parts of a subject from 0 to 4
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, model_validator

from curate.config import StrictModel, load_yaml, parse
from curate.errors import ConfigError
from curate.interfaces import Role

SHIPPED: Final = Path(__file__).parent / "rubrics"
PREFIX: Final = "vlm"
MAX_RATING: Final = 4
Words = Annotated[str, Field(min_length=1)]


class Question(StrictModel):
    """``column``: name of its numbers behind ``vlm.``; ``images``: roles in the order in which the judge sees them."""

    column: str = Field(pattern=r"^[a-z0-9_]+(\.[a-z0-9_]+)*$")
    images: tuple[Role, ...] = Field(min_length=1)


class RatingQuestion(Question):
    """``vlm.<column>`` in [0, 4]."""

    answer: Literal["rating"]
    ask: Words

    @property
    def columns(self) -> tuple[str, ...]:
        """The one rating."""
        return (f"{PREFIX}.{self.column}",)


class VotesQuestion(Question):
    """``.yes`` in [0, 1]: mean probability of yes against no; ``.votes``: how many wordings pass 0.5."""

    answer: Literal["votes"]
    wordings: tuple[Words, ...] = Field(min_length=1)

    @property
    def columns(self) -> tuple[str, ...]:
        """Probability, then votes."""
        return (f"{PREFIX}.{self.column}.yes", f"{PREFIX}.{self.column}.votes")


class PartsQuestion(Question):
    """``.mean`` and ``.min`` in [0, 4] over the parts of the last round's answer (the form: ``filters.answers``)."""

    answer: Literal["parts"]
    rounds: tuple[Words, ...] = Field(min_length=1)

    @property
    def columns(self) -> tuple[str, ...]:
        """Mean, then the worst part."""
        return (f"{PREFIX}.{self.column}.mean", f"{PREFIX}.{self.column}.min")


AnyQuestion = Annotated[RatingQuestion | VotesQuestion | PartsQuestion, Field(discriminator="answer")]


class Rubric(StrictModel):
    """The questions, and so the columns, of a judge."""

    questions: tuple[AnyQuestion, ...] = Field(min_length=1)

    @property
    def columns(self) -> tuple[str, ...]:
        """Of all questions in order."""
        return tuple(column for question in self.questions for column in question.columns)

    @model_validator(mode="after")
    def _columns_differ(self) -> Rubric:
        for column in self.columns:
            if self.columns.count(column) > 1:
                raise ValueError(f"two questions give {column}")
        return self


def read_rubric(value: Any) -> Any:
    """The rubric behind a name of ``SHIPPED``, the path of a YAML file, or the questions themselves.

    A config keeps the questions, not the name: other words are another scorer, and workers need no file.
    """
    if isinstance(value, Mapping):
        return parse(Rubric, value)
    if not isinstance(value, str):
        return value
    path = SHIPPED / f"{value}.yaml"
    if not path.is_file():
        path = Path(value)
    if not path.is_file():
        names = ", ".join(sorted(p.stem for p in SHIPPED.glob("*.yaml")))
        raise ConfigError(f"no file {value!r} and no rubric of this name (there are: {names})", key="rubric")
    values, lines = load_yaml(path)
    return parse(Rubric, values, file=path, lines=lines)


RubricConfig = Annotated[Rubric, BeforeValidator(read_rubric)]
"""In a config: a name, a path, or the questions themselves."""
