"""A rubric put to a judge: from talks about a unit's images to its columns, and the reason where a number lacks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
from PIL.Image import Image

from curate.errors import UnitError
from curate.interfaces import ERROR, ScoreColumns, TripletImages
from filters.answers import PARTS, RATINGS, TEXT, YES_NO, Form
from filters.rubric import AnyQuestion, PartsQuestion, RatingQuestion, Rubric, VotesQuestion

T = TypeVar("T")
RAW_CHARS = 1000
"""Of an unusable answer that are kept."""
Chances = tuple[float, ...]
"""Probability of each choice among the choices; they sum to 1."""


class Talk(NamedTuple):
    """Images, and what was said about them: the asker's words and the judge's in turn, the asker's last."""

    images: tuple[Image, ...]
    turns: tuple[str, ...]

    def then(self, answer: str, ask: str) -> Talk:
        """The talk one round on."""
        return Talk(self.images, (*self.turns, answer, ask))


class Judge(Protocol):
    """A model that answers. An answer that could not be had is a UnitError in its place; nothing is raised for it."""

    def choose(self, talks: Sequence[Talk], choices: Sequence[str]) -> Sequence[Chances | UnitError]: ...
    def say(self, talks: Sequence[Talk], form: Form[T]) -> Sequence[T | UnitError]: ...


def unusable(why: str, said: str, attempts: int) -> UnitError:
    """The record of a judge that gave no usable answer; what it said last stands in the second line."""
    return UnitError(f"no usable answer in {attempts} attempts: {why}\nthe judge said: {said[:RAW_CHARS]}")


class RubricScore:
    """Callable on units: ``rubric`` put to ``judge``. Repeats of one unit in a call are judged once.

    ``together``: the talks of all units are put to the judge at once; else those of one unit, because for a model in
    this process they are a batch, and a unit's numbers must not depend on its mates.
    """

    def __init__(self, rubric: Rubric, judge: Judge, *, together: bool) -> None:
        self.rubric, self.judge, self.together = rubric, judge, together

    def __call__(self, units: Sequence[TripletImages]) -> ScoreColumns:
        """The rubric's columns, (N,) float32 each, NaN where there is no answer; then ``ERROR`` says why."""
        different = list({id(unit): unit for unit in units}.values())
        groups = [different] if self.together else [[unit] for unit in different]
        judged = [row for group in groups for row in self._judge(group)]
        found = {id(unit): row for unit, row in zip(different, judged, strict=True)}
        rows = [found[id(unit)] for unit in units]
        columns: ScoreColumns = {
            column: np.array([row[column] for row, _ in rows], dtype=np.float32) for column in self.rubric.columns}
        if any(errors for _, errors in rows):
            columns[ERROR] = np.array(["\n".join(errors) for _, errors in rows], dtype=object)
        return columns

    def _judge(self, units: Sequence[TripletImages]) -> list[tuple[dict[str, float], list[str]]]:
        """Numbers and errors of each unit. All choices of one kind are put at once: the judge batches or parallels."""
        questions = self.rubric.questions
        answers: dict[tuple[int, int], list[Any]] = {
            (u, q): [] for u in range(len(units)) for q in range(len(questions))}
        for choices in (RATINGS, YES_NO):
            asked = [(u, q, ask) for u, q in answers for ask in _wordings(questions[q], choices)]
            talks = [_talk(units[u], questions[q], ask) for u, q, ask in asked]
            for (u, q, _), chances in zip(asked, self.judge.choose(talks, choices) if talks else (), strict=True):
                answers[u, q].append(chances)
        for q, question in enumerate(questions):
            if isinstance(question, PartsQuestion):
                for u, scores in enumerate(hold_rounds(self.judge, question, units)):
                    answers[u, q].append(scores)
        return [_row(questions, [answers[u, q] for q in range(len(questions))]) for u in range(len(units))]


def hold_rounds(judge: Judge, question: PartsQuestion, units: Sequence[TripletImages]) -> list[list[float] | UnitError]:
    """The scores of the parts of each unit, after all rounds; a talk that fails in one round has no next."""
    found: dict[int, list[float] | UnitError] = {}
    talks = {u: _talk(unit, question, question.rounds[0]) for u, unit in enumerate(units)}
    for ask in question.rounds[1:]:
        said = judge.say(list(talks.values()), TEXT)
        for u, words in zip(list(talks), said, strict=True):
            if isinstance(words, UnitError):
                found[u] = words
                del talks[u]
            else:
                talks[u] = talks[u].then(words, ask)
    scores = judge.say(list(talks.values()), PARTS)
    found.update(zip(talks, scores, strict=True))
    return [found[u] for u in range(len(units))]


def _wordings(question: AnyQuestion, choices: Sequence[str]) -> tuple[str, ...]:
    """What a question asks that is answered by one of ``choices``."""
    if isinstance(question, RatingQuestion) and choices == RATINGS:
        return (question.ask,)
    return question.wordings if isinstance(question, VotesQuestion) and choices == YES_NO else ()


def _talk(unit: TripletImages, question: AnyQuestion, ask: str) -> Talk:
    return Talk(tuple(getattr(unit, role) for role in question.images), (ask,))


def _row(questions: Sequence[AnyQuestion], answers: Sequence[Sequence[Any]]) -> tuple[dict[str, float], list[str]]:
    """Numbers by column, and what is said of those that are lacking."""
    values: dict[str, float] = {}
    errors: list[str] = []
    for question, found in zip(questions, answers, strict=True):
        wrong = next((answer for answer in found if isinstance(answer, UnitError)), None)
        numbers = _numbers(question, found) if wrong is None else [float("nan")] * len(question.columns)
        values.update(zip(question.columns, numbers, strict=True))
        if wrong is not None:
            errors.append(f"{question.columns[0]}: {wrong}")
    return values, errors


def _numbers(question: AnyQuestion, answers: Sequence[Any]) -> Sequence[float]:
    """The columns of a question from its usable answers."""
    if isinstance(question, PartsQuestion):
        return float(np.mean(answers[0])), min(answers[0])
    if isinstance(question, RatingQuestion):
        return [sum(rating * chance for rating, chance in enumerate(answers[0]))]
    yes = [chances[0] for chances in answers]
    return float(np.mean(yes)), float(sum(chance > 0.5 for chance in yes))
