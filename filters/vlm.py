"""A vision-language model as judge: a rubric's questions about the images of a triplet, answered here or by a server.

UNO and USO filter with such a judge (UNO, arXiv 2504.02160). The default rubric does not parse written answers; its
scores are expectations over the five rating tokens:

    rating = sum_r r * p(r),   p = softmax over the logits of "0".."4" at the answer's first position

which lie in [0, 4] by construction and are finer than the five integers. Preprocessing is the model's own processor;
the prompt is the model's own chat template around the images, in the order of the question, and the words.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, JsonValue, field_validator, model_validator

from curate.config import StrictModel
from filters.base import Scorer, TransformersScorer
from filters.rubric import RubricConfig, read_rubric

if TYPE_CHECKING:
    from curate.interfaces import Score


class ServerConfig(StrictModel):
    """An OpenAI-compatible server (vLLM, SGLang, ...) that answers in place of a model loaded here.

    At most ``concurrency`` requests of one worker are open at once, so of a run ``concurrency`` times the scorer's
    ``resources.replicas``. Refused, failed and timed-out requests are sent again up to ``retries`` times, after
    Retry-After where the server says it, else after an exponentially growing, jittered pause.
    """

    url: str
    """With the version: http://host:8000/v1."""
    api_key_env: str | None = None
    """Environment variable of the workers that holds the key; it is read there and written nowhere."""
    concurrency: int = Field(default=16, ge=1, le=1024)
    timeout_s: float = Field(default=120.0, gt=0)
    """Of a request without a byte from the server."""
    deadline_s: float = Field(default=600.0, gt=0)
    """Of a request from its sending to the last byte of its answer, however slowly the bytes come."""
    retries: int = Field(default=6, ge=0)
    log_probabilities: bool = True
    """Ask for them. Where an answer comes without, its text counts, as the certain choice that it is."""
    extra: dict[str, JsonValue] = Field(default_factory=dict)
    """Further fields of every request: {chat_template_kwargs: {enable_thinking: false}}."""

    @field_validator("url")
    @classmethod
    def _is_plain(cls, url: str) -> str:
        if not re.fullmatch(r"https?://[^@\s?#]+", url):
            raise ValueError("must be http(s)://host:port/v1 without user, password or query; see api_key_env")
        return url


class VlmScorer(TransformersScorer):
    """Columns of the rubric, each behind ``vlm.``; NaN, with the judge's words as the error, where it did not answer.

    ``model`` is anything that transformers' AutoProcessor and AutoModelForImageTextToText load and whose chat
    template takes several images; with ``server``, the name under which the server knows it. A unit is always scored
    alone (its questions are the batch), so that its numbers do not depend on which units stand beside it. ``min_mass``:
    a judge that puts less probability than this on all offered answers together is not answering the question.
    ``attempts``: how often it is asked, with a reminder of the form, until an answer can be used.
    """

    kind: Literal["vlm"] = "vlm"
    model: str = "zoo:vlm"
    batch: Literal[1] = 1
    rubric: RubricConfig = Field(default_factory=lambda: read_rubric("triplet"))
    min_mass: float = Field(default=0.25, ge=0.0, le=1.0)
    attempts: int = Field(default=3, ge=1)
    max_new_tokens: int = Field(default=512, ge=1)
    """Of a written answer."""
    server: ServerConfig | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """Of the rubric's questions in order."""
        return self.rubric.columns

    @property
    def hub_id(self) -> str | None:
        """With a server the name is the server's."""
        return None if self.server else self.model

    @model_validator(mode="after")
    def _a_server_has_its_model(self) -> VlmScorer:
        if self.server is not None:
            if self.model.startswith("zoo:") or self.revision is not None or self.dtype != "float32":
                raise ValueError("with server, model is the server's name of it; revision and dtype are the server's")
            if self.resources.replicas == "auto":
                raise ValueError("with server, say resources.replicas (1 is usual): each has its own concurrency")
        return self

    def identity(self) -> dict[str, object]:
        """With a server: what is asked of which model, not where it runs nor how patiently it is asked."""
        if self.server is None:
            found = super().identity()
            del found["server"]
            return found
        asked: dict[str, Any] = {**Scorer.identity(self), "model": self.model}
        return {**asked, "server": self.server.model_dump(mode="json", include={"log_probabilities", "extra"})}

    def load(self, device: str) -> Score:
        """Load processor and model, or reach the server, once; the result scores units one by one."""
        from filters.judging import Judge, RubricScore

        judge: Judge
        if self.server is not None:
            from filters.vlm_server import ServerJudge

            judge = ServerJudge(self.model, self.server, min_mass=self.min_mass, attempts=self.attempts,
                                max_new_tokens=self.max_new_tokens)
            return RubricScore(self.rubric, judge, together=True)
        from curate.models import resolve_model
        from filters.vlm_local import LocalJudge, load_parts

        parts = load_parts(resolve_model(self.model), device=device, dtype=self.dtype, revision=self.revision,
                           pickles=self.pickles)
        judge = LocalJudge(*parts, min_mass=self.min_mass, attempts=self.attempts, max_new_tokens=self.max_new_tokens)
        return RubricScore(self.rubric, judge, together=False)
