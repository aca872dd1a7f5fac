"""Rubrics as files, what may be answered in writing, and how answers become columns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from curate.config import parse
from curate.errors import ConfigError, UnitError
from curate.interfaces import TripletImages
from filters.answers import PARTS, RATINGS, YES_NO, Form, choice_form
from filters.judging import RubricScore, Talk
from filters.rubric import SHIPPED, Rubric, read_rubric
from filters.vlm import VlmScorer

NAMES = ("triplet", "uno_parts", "votes")


def unit(shade: int = 0) -> TripletImages:
    return TripletImages(*(Image.new("RGB", (4, 4), (shade, i, 0)) for i in range(3)), "", "", "shifted")


def test_every_shipped_rubric_is_read_by_name_by_path_and_inline() -> None:
    assert sorted(path.stem for path in SHIPPED.glob("*.yaml")) == sorted(NAMES)
    for name in NAMES:
        rubric = read_rubric(name)
        assert read_rubric(str(SHIPPED / f"{name}.yaml")) == rubric
        by_name = parse(VlmScorer, {"rubric": name})
        inline = parse(VlmScorer, {"rubric": rubric.model_dump(mode="json")})
        assert by_name == inline and by_name.columns == rubric.columns
        assert by_name.identity() == inline.identity()


def test_other_words_are_another_scorer(tmp_path: Path) -> None:
    text = (SHIPPED / "votes.yaml").read_text()
    (tmp_path / "mine.yaml").write_text(text.replace("very subject", "same subject"))
    mine, theirs = (parse(VlmScorer, {"rubric": name}) for name in (str(tmp_path / "mine.yaml"), "votes"))
    assert mine.columns == theirs.columns and mine.identity() != theirs.identity()
    assert str(tmp_path) not in str(mine.identity())


@pytest.mark.parametrize(("change", "says"), [
    (("answer: votes", "answer: vote"), r"mine\.yaml:.*vote"),
    (("images: [content, stylized]", "images: [contents, stylized]"), "images"),
    (("column: same_style", "column: same_subject"), r"two questions give vlm\.same_subject\.yes"),
    (("  wordings:", "  wording:"), "did you mean 'wordings'"),
])
def test_a_wrong_rubric_is_named_with_its_fault(tmp_path: Path, change: tuple[str, str], says: str) -> None:
    (tmp_path / "mine.yaml").write_text((SHIPPED / "votes.yaml").read_text().replace(*change))
    with pytest.raises(ConfigError, match=says):
        parse(VlmScorer, {"rubric": str(tmp_path / "mine.yaml")})


def test_an_unknown_rubric_names_those_that_there_are() -> None:
    with pytest.raises(ConfigError, match=r"no rubric of this name.*triplet, uno_parts, votes"):
        parse(VlmScorer, {"rubric": "unp"})


@pytest.mark.parametrize("text", ["3", " 3.\n", '**3**', '{"answer": 3}', 'Sure: {"answer": "3"}',
                                  '<think>4? 2?</think>\n3', '```json\n{"answer": "3"}\n```'])
def test_a_written_choice_is_read(text: str) -> None:
    assert choice_form(RATINGS).read(text) == "3"
    assert choice_form(YES_NO).read("Yes.") == "yes"


@pytest.mark.parametrize("text", ["", "  ", "131184.67", "5", "-1", "3.5", "three", "3 or 4", '{"answer": 7}',
                                  '{"answer": ', '{"score": 3}', "[3]", '{"answer": null}', "the rating is 3", "NaN"])
def test_what_is_no_choice_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        choice_form(RATINGS).read(text)


def test_part_scores_are_read_and_checked() -> None:
    good = 'Here: {"parts": [{"part": "hat", "score": 4}, {"part": "paw", "score": 2.5}]}'
    assert PARTS.read(good) == [4.0, 2.5]
    for bad, says in (("{}", "no list"), ('{"parts": []}', "no list"), ('{"parts": [3]}', "without a number"),
                      (good.replace("2.5", "131184.67"), "131184.67, outside 0 to 4"),
                      (good.replace("2.5", "-1"), "-1"), (good.replace("2.5", "8.5"), "8.5"),
                      (good.replace("2.5", "NaN"), "nan"), (good.replace("2.5", "true"), "without a number"),
                      (good.replace("2.5", '"4"'), "without a number"),
                      ("4, 2.5", "no JSON"), (good[:-1], "no JSON")):
        with pytest.raises(ValueError, match=says):
            PARTS.read(bad)


class Recorded:
    """A judge whose answers are written down: what is tested is the arithmetic around it."""

    def __init__(self, chances: Any = None, words: Sequence[Any] = ()) -> None:
        self.chances, self.words = chances, list(words)
        self.talks: list[Talk] = []

    def choose(self, talks: Sequence[Talk], choices: Sequence[str]) -> list[Any]:
        self.talks += talks
        return [self.chances(talk) for talk in talks]

    def say(self, talks: Sequence[Talk], form: Form[Any]) -> list[Any]:
        self.talks += talks
        said = [self.words.pop(0) for _ in talks]
        return [words if isinstance(words, UnitError) else form.read(words) for words in said]


def test_a_rating_is_the_expectation_and_sees_its_images_in_order() -> None:
    judge = Recorded(lambda talk: (0.5, 0, 0, 0.5, 0) if "subjects" in talk.turns[0] else (0, 0, 0, 0.25, 0.75))
    one = unit()
    columns = RubricScore(read_rubric("triplet"), judge, together=True)([one])
    assert columns["vlm.subject.content_stylized"][0] == pytest.approx(1.5)
    assert columns["vlm.style.style_stylized"][0] == pytest.approx(3.75) and "error" not in columns
    assert [talk.images for talk in judge.talks] == [
        (one.content, one.stylized), (one.style, one.stylized), (one.content, one.stylized), (one.style, one.stylized)]


def test_votes_are_counted_and_probabilities_averaged() -> None:
    rubric = read_rubric("votes")
    yes = dict(zip(rubric.questions[0].wordings, (0.9, 0.4, 0.6), strict=True))
    judge = Recorded(lambda talk: (yes.get(talk.turns[0], 0.5), 1 - yes.get(talk.turns[0], 0.5)))
    columns = RubricScore(rubric, judge, together=True)([unit()])
    assert columns["vlm.same_subject.votes"][0] == 2 and columns["vlm.same_subject.yes"][0] == pytest.approx(1.9 / 3)
    assert columns["vlm.same_style.votes"][0] == 0  # as likely as not is no vote


def test_rounds_build_on_one_another_and_a_unit_that_fails_stops_talking() -> None:
    rubric = read_rubric("uno_parts")
    first, second, third = rubric.questions[0].rounds
    score = '{"parts": [{"part": "hat", "score": 4}, {"part": "paw", "score": 1}]}'
    judge = Recorded(words=["hat, paw", UnitError("vlm server: gone"), "the paw is missing", score])
    columns = RubricScore(rubric, judge, together=True)([unit(1), unit(2)])
    assert [talk.turns for talk in judge.talks] == [
        (first,), (first,), (first, "hat, paw", second), (first, "hat, paw", second, "the paw is missing", third)]
    assert columns["vlm.parts.mean"][0] == 2.5 and columns["vlm.parts.min"][0] == 1
    assert math.isnan(columns["vlm.parts.mean"][1])
    assert columns["error"].tolist() == ["", "vlm.parts.mean: vlm server: gone"]


def test_a_failed_question_leaves_the_others_their_numbers() -> None:
    rubric = parse(Rubric, {"questions": [
        {"column": "a", "answer": "rating", "images": ["content"], "ask": "a?"},
        {"column": "b", "answer": "rating", "images": ["style"], "ask": "b?"}]})
    judge = Recorded(lambda talk: UnitError("no") if talk.turns[0] == "a?" else (0, 1, 0, 0, 0))
    columns = RubricScore(rubric, judge, together=False)([unit()])
    assert np.isnan(columns["vlm.a"][0]) and columns["vlm.b"][0] == 1 and columns["error"][0] == "vlm.a: no"
