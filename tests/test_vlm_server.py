"""The judge behind a server, against a real HTTP server that is slow, refuses, breaks, and talks nonsense."""

from __future__ import annotations

import base64
import io
import json
import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from PIL import Image

from curate.config import ResourcesConfig, parse
from curate.errors import ConfigError, ModelError
from curate.interfaces import TripletImages
from filters.answers import RATINGS
from filters.completions import Answer, read_chances
from filters.judging import RubricScore
from filters.rubric import Rubric, read_rubric
from filters.vlm import ServerConfig, VlmScorer
from tests.judge_server import MODEL, Call, JudgeServer, serving

ONE = parse(Rubric, {"questions": [{"column": "r", "answer": "rating", "images": ["content"], "ask": "Rate 0 to 4."}]})
EVEN = {"3": math.log(0.5), " 1": math.log(0.25), "1": math.log(0.125), "the": math.log(0.125)}
"""(3 * 0.5 + 1 * 0.375) / 0.875, with 0.875 of the mass."""


def unit(shade: int, caption: str = "") -> TripletImages:
    images = (Image.new("RGB", (4, 4), (shade, i, 0)) for i in range(3))
    return TripletImages(*images, caption, "", "shifted")


def shade_of(call: Call) -> int:
    """Which unit is asked about: the content's red."""
    pixels = Image.open(io.BytesIO(base64.b64decode(call.images[0].partition("base64,")[2])))
    red: int = pixels.getpixel((0, 0))[0]  # type: ignore[index]
    return red


def scorer(server: JudgeServer, *, rubric: Rubric = ONE, attempts: int = 3, **options: Any) -> RubricScore:
    values = {"url": server.url, "timeout_s": 20.0, "retries": 2, "concurrency": 4, **options}
    config = VlmScorer(model=MODEL, rubric=rubric, attempts=attempts, server=ServerConfig(**values),
                       resources=ResourcesConfig(replicas=1))
    loaded = config.load("cpu")
    assert isinstance(loaded, RubricScore)
    return loaded


def test_log_probabilities_give_the_expectation_and_images_travel_whole() -> None:
    with serving(lambda call: call.say("3", EVEN)) as server:
        columns = scorer(server, rubric=read_rubric("triplet"))([unit(9)])
    assert [values[0] for values in columns.values()] == pytest.approx([1.875 / 0.875] * 4)
    body = server.bodies[0]
    assert (body["logprobs"], body["top_logprobs"], body["temperature"], body["model"]) == (True, 20, 0.0, MODEL)
    seen = set()
    for body in server.bodies:
        *images, text = body["messages"][0]["content"]
        shown = [Image.open(io.BytesIO(base64.b64decode(part["image_url"]["url"].partition("base64,")[2])))
                 for part in images]
        seen.add((text["text"][:17], *(image.getpixel((0, 0)) for image in shown)))
    content, style, stylized = (9, 0, 0), (9, 1, 0), (9, 2, 0)
    assert seen == {("Compare the subje", content, stylized), ("Compare the artis", style, stylized),
                    ("Compare the artis", content, stylized), ("Compare the subje", style, stylized)}


def test_every_unit_ends_with_a_score_or_a_recorded_failure_and_concurrency_stays_bounded() -> None:
    """One batch in which each unit meets another misfortune; those that recover and those that never do."""
    def refuse(call: Call) -> None:
        call.send(429, '{"error": {"message": "slow down"}}', Retry_After="0.05")

    def later(bad: Callable[[Call], None]) -> Callable[[Call], None]:
        """Once badly, then well."""
        return lambda call: bad(call) if call.number == 0 else call.say("3", EVEN)

    bad: dict[str, Callable[[Call], None]] = {
        "slow": lambda call: call.wait(2) or call.say("3", EVEN),  # type: ignore[func-returns-value]
        "429": refuse,
        "500": lambda call: call.send(500, "oh no", kind="text/plain"),
        "dropped": Call.drop,
        "trickling": Call.trickle,
        "trickling headers": lambda call: call.trickle(headers=True),
        "half a body": lambda call: call.send(200, '{"choices": [', kind="application/json"),
        "html": lambda call: call.send(200, "<html>proxy</html>", kind="text/html"),
        "no choices": lambda call: call.send(200, '{"choices": []}'),
        "nonsense": lambda call: call.say("I would rather not.", {"I": -0.01}),
        "out of range": lambda call: call.say('{"answer": 131184.67}'),
        "strange log-probabilities": lambda call: call.say("It varies.", {"3": 2.5}),
    }
    good: dict[str, Callable[[Call], None]] = {
        "fine": lambda call: call.say("3", EVEN),
        "no log-probabilities": lambda call: call.say("3"),
        "null content once": lambda call: call.say("3", EVEN) if len(call.words) > 1 else call.send(
            200, '{"choices": [{"message": {"role": "assistant", "content": null}}]}'),
    }
    cases = [*bad.items(), *((f"{name}, once", later(reply)) for name, reply in bad.items()
                             if name in ("slow", "429", "500", "dropped", "trickling")), *good.items()]
    assert len(cases) == 20

    def reply(call: Call) -> None:
        call.wait(0.05)  # long enough for others to be open too
        cases[shade_of(call)][1](call)

    with serving(reply) as server:
        columns = scorer(server, timeout_s=1.0, deadline_s=1.5)([unit(i) for i in range(len(cases))])
    ratings, errors = columns["vlm.r"], columns["error"]
    for (name, _), rating, error in zip(cases, ratings, errors, strict=True):
        if name in bad:
            assert np.isnan(rating) and error.startswith("vlm.r: "), name
        else:
            assert error == "" and rating in (pytest.approx(1.875 / 0.875), 3.0), name
    said = dict(zip((name for name, _ in cases), errors, strict=True))
    assert "APITimeoutError" in said["slow"] and "RateLimitError" in said["429"]
    assert "no whole answer in 1.5 s" in said["trickling"] and "no whole answer in 1.5 s" in said["trickling headers"]
    assert "InternalServerError" in said["500"] and "APIConnectionError" in said["dropped"]
    assert said["nonsense"].endswith("\nthe judge said: I would rather not.")
    assert said["out of range"].endswith('\nthe judge said: {"answer": 131184.67}')
    assert "<html>proxy</html>" in said["html"]
    assert 1 < server.most_open <= 4


def test_concurrency_is_used_and_never_exceeded() -> None:
    six_at_once = threading.Barrier(6)

    def reply(call: Call) -> None:
        six_at_once.wait(timeout=30)
        time.sleep(0.02)
        call.say("3", EVEN)

    with serving(reply) as server:
        score = scorer(server, concurrency=6)
        for _ in range(2):
            assert "error" not in score([unit(i) for i in range(12)])
    assert server.most_open == 6 and len(server.bodies) == 24


def test_without_log_probabilities_json_is_asked_for() -> None:
    with serving(lambda call: call.say('{"answer": "4"}')) as server:
        columns = scorer(server, log_probabilities=False, extra={"top_k": 1})([unit(0)])
    assert columns["vlm.r"][0] == 4.0
    body = server.bodies[0]
    assert "logprobs" not in body and body["top_k"] == 1
    assert body["response_format"]["json_schema"]["schema"]["properties"]["answer"]["enum"] == list("01234")


def test_a_server_that_knows_neither_field_is_asked_without() -> None:
    def reply(call: Call) -> None:
        if "logprobs" in call.body or "response_format" in call.body:
            call.send(400, '{"error": {"message": "unknown field"}}')
        else:
            call.say("2")

    with serving(reply) as server:
        columns = scorer(server)([unit(0)])
        assert columns["vlm.r"][0] == 2.0 and "error" not in columns
        assert len(server.bodies) == 3
        failed = scorer(server, attempts=2)([unit(0)])
    assert "BadRequestError" in failed["error"][0] and "unknown field" in failed["error"][0]


def test_an_unusable_answer_is_asked_again_with_the_form() -> None:
    with serving(lambda call: call.say("well, 4?") if len(call.words) == 1 else call.say('{"answer": 4}')) as server:
        columns = scorer(server)([unit(0)])
    assert columns["vlm.r"][0] == 4.0
    assert [message["role"] for message in server.bodies[1]["messages"]] == ["user", "assistant", "user"]
    assert server.bodies[1]["messages"][1]["content"] == "well, 4?"
    assert server.bodies[1]["messages"][2]["content"].startswith("Answer with JSON")


def test_rounds_and_parts_over_the_wire() -> None:
    def reply(call: Call) -> None:
        if len(call.words) == 1:
            call.say(f"hat of {shade_of(call)}")
        elif len(call.words) == 3:
            assert call.words[1] == f"hat of {shade_of(call)}"
            call.say("the hat is the same")
        else:
            score = "8.5" if shade_of(call) == 1 and len(call.words) == 5 else "3"
            call.say(f'{{"parts": [{{"part": "hat", "score": {score}}}, {{"part": "paw", "score": 2}}]}}')

    with serving(reply) as server:
        columns = scorer(server, rubric=read_rubric("uno_parts"))([unit(0), unit(1)])
    assert columns["vlm.parts.mean"].tolist() == [2.5, 2.5] and columns["vlm.parts.min"].tolist() == [2, 2]
    assert len(server.bodies) == 7  # the second unit's first scores were out of range
    asked_in_json = {len(body["messages"]) for body in server.bodies if "response_format" in body}
    assert asked_in_json == {5}


@pytest.mark.parametrize("top", [{"3": math.nan}, {"3": 1000.0}, {"3": -0.1, " 3": -0.1}, {"the": -0.1}, {}])
def test_numbers_that_are_no_probabilities_are_no_answer(top: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="probabilit"):
        read_chances(Answer("3", tuple(top.items()), "3"), RATINGS, 0.25)


def test_retry_after_is_waited_for() -> None:
    def reply(call: Call) -> None:
        if call.number == 0:
            call.send(429, "{}", Retry_After="1.2")
        else:
            call.say("3", EVEN)

    with serving(reply) as server:
        assert "error" not in scorer(server)([unit(0)])
    assert 1.1 < server.times[1] - server.times[0] < 3


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("JUDGE_KEY", "sk-very-secret")
    return "sk-very-secret"


def test_the_key_comes_from_the_environment_and_is_shown_nowhere(
        key: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with serving(lambda call: call.say("3", EVEN), key=key) as server:
        options = {"api_key_env": "JUDGE_KEY"}
        assert scorer(server, **options)([unit(0)])["vlm.r"][0] > 2
        config = VlmScorer(model=MODEL, server=ServerConfig(url=server.url, api_key_env="JUDGE_KEY"),
                           resources=ResourcesConfig(replicas=1))
        assert key not in config.model_dump_json() and key not in caplog.text
        server.key = "another"
        with pytest.raises(ModelError, match=r"AuthenticationError.*Bearer \*\*\*") as caught:
            scorer(server, **options)([unit(0)])
        assert key not in str(caught.value)
        server.reply, server.key = lambda call: call.say(f"your key is {key}"), key
        assert key not in scorer(server, **options)([unit(0)])["error"][0]
        monkeypatch.delenv("JUDGE_KEY")
        with pytest.raises(ModelError, match="JUDGE_KEY"):
            scorer(server, **options)


def test_a_server_that_is_not_there_or_lacks_the_model_stops_the_run() -> None:
    with serving(lambda call: call.say("3", EVEN)) as server:
        with pytest.raises(ModelError, match=r"no model 'other'; it has \['toy/judge'\]"):
            VlmScorer(model="other", server=ServerConfig(url=server.url), resources=ResourcesConfig(replicas=1)).load(
                "cpu")
        url = server.url
    with pytest.raises(ModelError, match="APIConnectionError"):
        VlmScorer(model=MODEL, server=ServerConfig(url=url, retries=0), resources=ResourcesConfig(replicas=1)).load(
            "cpu")


def test_where_and_how_patiently_is_no_part_of_the_identity() -> None:
    def identity(model: str = MODEL, **server: Any) -> Mapping[str, object]:
        config = ServerConfig(**{"url": "http://a:1/v1", **server})
        return VlmScorer(model=model, server=config, resources=ResourcesConfig(replicas=1)).identity()

    assert identity() == identity(url="https://b:2/v1", api_key_env="KEY", concurrency=3, timeout_s=9.0,
                                  deadline_s=99.0, retries=1)
    assert identity() != identity(model="other") and identity() != identity(log_probabilities=False)
    assert identity() != identity(extra={"top_k": 1})
    assert "http" not in json.dumps(identity()) and "KEY" not in json.dumps(identity(api_key_env="KEY"))


@pytest.mark.parametrize(("values", "says"), [
    ({"server": {"url": "http://user:pw@host/v1"}}, "without user, password"),
    ({"server": {"url": "http://h/v1"}}, "the server's name of it"),
    ({"server": {"url": "http://h/v1"}, "model": "m", "revision": "x"}, "revision and dtype"),
    ({"server": {"url": "http://h/v1"}, "model": "m"}, r"say resources\.replicas"),
    ({"server": {"url": "http://h/v1", "concurency": 3}, "model": "m"}, "did you mean 'concurrency'"),
])
def test_a_wrong_config_is_explained(values: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parse(VlmScorer, values)
