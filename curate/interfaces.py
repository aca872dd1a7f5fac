"""What experts and scorers look like to the rest of the system: one verb each, no Ray, no files, no thresholds.

An expert or scorer is a small frozen config class (a ``StrictModel`` with a literal ``kind``) whose ``load(device)``
returns the callable that works on a batch. Images here are PIL RGB; floats live inside the models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

Layout = Literal["preserved", "shifted"]
Verb = Literal["stylize", "destylize"]
Role = Literal["content", "style", "stylized"]
ROLES: tuple[Role, ...] = ("content", "style", "stylized")
PAIRS: tuple[str, ...] = ("content_stylized", "style_stylized", "content_style")


class Resources(NamedTuple):
    """What one worker of a stage takes. ``cpus`` is also its torch thread count; replicas None = as many as fit.

    With ``most`` Ray grows the pool from ``replicas`` workers up to so many, and shrinks it again.
    """

    cpus: int = 1
    gpus: float = 0.0
    replicas: int | None = None
    most: int | None = None


class ExpertRequest(NamedTuple):
    """One image to make.

    stylize: ``style`` is the style reference; ``content`` (a plain image of the new subject), ``prompt`` or both say
    what to draw. destylize: ``content`` is the stylized image, ``style`` is None, ``layout`` says whether to keep it.
    """

    verb: Verb
    content: Image | None
    style: Image | None
    prompt: str
    layout: Layout
    seed: int


Expert = Callable[[Sequence[ExpertRequest]], "list[Image]"]


class TripletImages(NamedTuple):
    """What a scorer sees of one candidate."""

    content: Image
    style: Image
    stylized: Image
    caption: str
    style_caption: str
    layout: Layout


ScoreColumns = dict[str, "np.ndarray"]
"""Column name -> (N,) float32 (int64 for hashes). NaN = this unit could not be scored; beside the promised columns
there may then be ``ERROR``."""
ERROR = "error"
"""(N,) str: why a unit lacks a number, "" where none is lacking. The first line is the reason, the rest is evidence,
such as what a judge said; it goes into the score store with the numbers that there are."""
Score = Callable[[Sequence[TripletImages]], ScoreColumns]


class ExpertConfig(Protocol):
    """Config of an expert (``pipelines.EXPERTS``)."""

    @property
    def kind(self) -> str: ...
    def identity(self) -> dict[str, object]:
        """All that determines its output (config values and model hashes): goes into unit ids and provenance."""
        ...

    def load(self, device: str) -> Expert: ...


class ScorerConfig(Protocol):
    """Config of a scorer (``filters.SCORERS``)."""

    @property
    def kind(self) -> str: ...
    @property
    def columns(self) -> tuple[str, ...]: ...
    def identity(self) -> dict[str, object]:
        """All that determines its numbers: hashed into the folder name ``scores/<scorer>@<fingerprint>``."""
        ...

    def load(self, device: str) -> Score: ...
