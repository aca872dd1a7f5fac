"""A judge behind an OpenAI-compatible server (vLLM, SGLang, ...), by the openai client: concurrent, bounded, patient.

The client retries 408, 409, 429, 5xx, dropped connections and time-outs. What it gives up on is the error of that one
question; only a server that is not there, or that refuses the key or the model, stops the run.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

import openai
from PIL.Image import Image

from curate.errors import ModelError, UnitError
from curate.images import encode
from filters.answers import Form, choice_form
from filters.completions import Answer, certain, read_chances, read_completion
from filters.deadline import DeadlineClient, RequestThread
from filters.judging import Chances, Talk, unusable
from filters.vlm import ServerConfig

T = TypeVar("T")
Plan = tuple[Mapping[str, Any], Callable[[Answer], T]]
"""Fields of a request beside model and messages, and how its answer is read (ValueError: not usable)."""
TOKEN: Final = {"logprobs": True, "top_logprobs": 20, "max_tokens": 16}  # 20: the most that the protocol allows
FATAL: Final = (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError)
ERROR_CHARS: Final = 300


class ServerJudge:
    """The client and its threads. Loading it asks the server for its models."""

    def __init__(self, model: str, config: ServerConfig, *, min_mass: float, attempts: int, max_new_tokens: int,
                 ) -> None:
        self.model, self.config, self.min_mass = model, config, min_mass
        self.attempts, self.max_new_tokens = attempts, max_new_tokens
        self._key = read_key(config)
        self._requests = RequestThread(openai.AsyncOpenAI(
            base_url=config.url, api_key=self._key or "none", timeout=config.timeout_s, max_retries=config.retries,
            http_client=DeadlineClient(config.deadline_s)))
        self._look_for_model()
        self._pool = ThreadPoolExecutor(config.concurrency, thread_name_prefix="judge")

    def choose(self, talks: Sequence[Talk], choices: Sequence[str]) -> list[Chances | UnitError]:
        """Probabilities of the choices; where the server tells none, 1 for the choice that it wrote."""
        form = choice_form(choices)

        def written(answer: Answer) -> Chances:
            return certain(form.read(answer.text), choices)

        def weighed(answer: Answer) -> Chances:
            return written(answer) if answer.top is None else read_chances(answer, choices, self.min_mass)

        token: list[Plan[Chances]] = [(TOKEN, weighed)] if self.config.log_probabilities else []
        return self._each([*token, (_json(form), written), ({}, written)], form, talks)

    def say(self, talks: Sequence[Talk], form: Form[T]) -> list[T | UnitError]:
        """Written answers."""
        def written(answer: Answer) -> T:
            return form.read(answer.text)

        return self._each([(_json(form), written), ({}, written)] if form.schema else [({}, written)], form, talks)

    def _each(self, plans: Sequence[Plan[T]], form: Form[Any], talks: Sequence[Talk]) -> list[T | UnitError]:
        """All talks, ``concurrency`` at a time; an image is encoded once however many questions show it."""
        images = {id(image): image for talk in talks for image in talk.images}
        urls = dict(zip(images, self._pool.map(data_url, images.values()), strict=True))
        return list(self._pool.map(lambda talk: self._answer(plans, form, messages_of(talk, urls)), talks))

    def _answer(self, plans: Sequence[Plan[T]], form: Form[Any], messages: list[Any]) -> T | UnitError:
        try:
            found = self._ask_until_read(plans, form, messages)
        except FATAL as error:
            raise self._stop(error) from None
        except openai.OpenAIError as error:
            found = UnitError(f"vlm server: {self._told(error)}")
        return UnitError(self._without_key(str(found))) if isinstance(found, UnitError) else found

    def _ask_until_read(self, plans: Sequence[Plan[T]], form: Form[Any], messages: list[Any]) -> T | UnitError:
        """One plan after the other, the last as often as needed, with what went wrong said in between."""
        failure = UnitError("not asked")
        for attempt in range(1, self.attempts + 1):
            fields, read = plans[min(attempt, len(plans)) - 1]
            try:
                answer = self._ask(messages, fields)
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                if not fields:
                    raise
                failure = UnitError(f"vlm server: {self._told(error)}")  # it may not know a field: do without
                continue
            try:
                return read(answer)
            except ValueError as error:
                failure = unusable(str(error), answer.raw, attempt)
            messages = [*messages, {"role": "assistant", "content": answer.text or "(nothing)"},
                        {"role": "user", "content": form.reminder}]
        return failure

    def _ask(self, messages: list[Any], fields: Mapping[str, Any]) -> Answer:
        request: dict[str, Any] = {"max_tokens": self.max_new_tokens, "temperature": 0.0, **fields}
        try:
            return read_completion(self._requests.wait_for(self._requests.client.chat.completions.create(
                model=self.model, messages=messages, extra_body=dict(self.config.extra), **request)))
        except ValueError as error:  # the body was no JSON
            return Answer("", None, f"{type(error).__name__}: {error}")

    def _look_for_model(self) -> None:
        try:
            names = [str(model.id) for model in self._requests.wait_for(self._list_models())]
        except openai.NotFoundError:
            return  # it keeps no list
        except openai.OpenAIError as error:
            raise self._stop(error) from None
        except (AttributeError, TypeError, ValueError):
            return
        if self.model not in names:
            raise ModelError(f"vlm server {self.config.url}: no model {self.model!r}; it has {sorted(names)[:8]}")

    async def _list_models(self) -> list[Any]:
        return [model async for model in self._requests.client.models.list()]

    def _stop(self, error: openai.OpenAIError) -> ModelError:
        return ModelError(f"vlm server {self.config.url}: {self._told(error)}")

    def _told(self, error: openai.OpenAIError) -> str:
        cause = f" ({error.__cause__})" if error.__cause__ is not None else ""
        return self._without_key(" ".join(f"{type(error).__name__}: {error}{cause}".split())[:ERROR_CHARS])

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text


def read_key(config: ServerConfig) -> str | None:
    """The key from the environment; ModelError where the config names a variable that is not set here."""
    if config.api_key_env is None:
        return None
    key = os.environ.get(config.api_key_env)
    if not key:
        raise ModelError(f"vlm server: the environment variable {config.api_key_env} of the worker is empty; it should "
                         "hold the key (Ray workers have the environment of the cluster's nodes)")
    return key


def data_url(image: Image) -> str:
    """The image as PNG inside a URL: the judge sees the pixels that the experts made."""
    return "data:image/png;base64," + base64.b64encode(encode(image)).decode("ascii")


def messages_of(talk: Talk, urls: Mapping[int, str]) -> list[Any]:
    """A talk in the protocol's form, the images before the first words."""
    images = [{"type": "image_url", "image_url": {"url": urls[id(image)]}} for image in talk.images]
    first = {"role": "user", "content": [*images, {"type": "text", "text": talk.turns[0]}]}
    rest = [{"role": "assistant" if turn % 2 else "user", "content": words}
            for turn, words in enumerate(talk.turns[1:], start=1)]
    return [first, *rest]


def _json(form: Form[Any]) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": {
        "name": "answer", "schema": form.schema, "strict": True}}}
