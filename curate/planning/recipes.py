"""Recipes as data: how many units of what kind to plan, and which expert calls make one."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from curate.config import StrictModel
from curate.interfaces import Layout
from curate.records import CaptionField, ExpertCall, InputRole

LAYOUTS: tuple[Layout, ...] = ("preserved", "shifted")


class FromStylizedConfig(StrictModel):
    """USO's direction (arXiv 2508.18966, 3.2): every image of the source ``input`` is a target, and both references are
    generated from it. The source ``subjects`` is the bank of plain images from which new subjects are drawn.

    How USO divides its targets between the layouts, and how many references it makes of each, is not published: the
    fields and their defaults are our choice.
    """

    kind: Literal["from_stylized"] = "from_stylized"
    layout: Literal["preserved", "shifted", "both"] = "preserved"
    """Of the content reference. ``both``: half of the units each."""
    per_target: int = Field(default=1, ge=1)
    """Units of one target, each with another new subject in its style reference."""
    new_subject: Literal["image", "prompt", "both"] = "image"
    """What tells the stylization expert what to draw: a plain image of the bank, its words, or both."""
    words: str | None = None
    """For ``prompt`` only: a text file or URL with one subject a line. Without it the words of the source ``subjects``
    serve, and without that source a built-in list of nouns."""
    match_set: bool = False
    """Draw new subjects only from bank images whose style begins like the target's (``twemoji/...``)."""


class FromPairConfig(StrictModel):
    """CSGO's and OmniStyle's direction: sources ``contents`` and ``styles`` are given, the target is generated."""

    kind: Literal["from_pair"] = "from_pair"
    count: int = Field(ge=1)
    """How many (content, style) pairs; none comes twice."""
    layout: Literal["preserved", "shifted", "both"] = "preserved"
    """Of the target against the content. ``both``: half of the units each."""


RecipeConfig = Annotated[FromStylizedConfig | FromPairConfig, Field(discriminator="kind")]


def captions_wanted(recipe: FromStylizedConfig | FromPairConfig) -> tuple[tuple[CaptionField, InputRole], ...]:
    """Which caption describes which given image: what a captioner writes where the source has no words.

    The content's caption always (it is part of the dataset), the style reference's only where an expert needs it.
    """
    if isinstance(recipe, FromPairConfig):
        return (("caption", "content"),)
    return (("caption", "stylized"), *((("style_caption", "subject"),) if recipe.new_subject == "both" else ()))


def calls(recipe: FromStylizedConfig | FromPairConfig) -> tuple[ExpertCall, ...]:
    """The expert calls of one unit, in order. What no call makes is the unit's input of the same name."""
    if isinstance(recipe, FromPairConfig):
        return (ExpertCall(makes="stylized", verb="stylize", content="content", style="style", prompt="caption"),)
    prompt: Literal["style_caption"] | None = None if recipe.new_subject == "image" else "style_caption"
    subject: Literal["subject"] | None = None if recipe.new_subject == "prompt" else "subject"
    return (
        ExpertCall(makes="content", verb="destylize", content="stylized", style=None, prompt="caption"),
        ExpertCall(makes="style", verb="stylize", content=subject, style="stylized", prompt=prompt),
    )
