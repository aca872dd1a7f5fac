"""A vision-language model as judge: how much of the subject, how much of the style, each from 0 to 4.

UNO and USO filter with such a judge (UNO, arXiv 2504.02160: parts scored 0-4; kept at 3.5 or 4); which model,
prompts and thresholds USO used is undisclosed, so the questions here are our choice and config fields.
Instead of parsing written answers (UNO-1M's published labels contain 131184.67), the score is the expectation
over the five rating tokens:

    rating = sum_r r * p(r),   p = softmax over the logits of "0".."4" at the answer's first position

which lies in [0, 4] by construction and is finer than the five integers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from filters.base import ModelScorer

if TYPE_CHECKING:
    from curate.interfaces import Score

SUBJECT_QUESTION = (
    "Compare the subjects of the two images part by part. "
    "Ignore style, colour, background, pose and position. "
    "Rate from 0 (different subjects) to 4 (the same subject). Answer with one digit."
)
STYLE_QUESTION = (
    "Compare the artistic style of the two images: lines, shading, texture, palette. Ignore what is shown. "
    "Rate from 0 (different styles) to 4 (the same style). Answer with one digit."
)

QUESTIONS: dict[str, tuple[Literal["subject", "style"], Literal["content", "style"]]] = {
    "vlm.subject.content_stylized": ("subject", "content"),  # consistency: should be high
    "vlm.style.style_stylized": ("style", "style"),  # the point of the triplet: should be high
    "vlm.style.content_stylized": ("style", "content"),  # residue of the style in the content: should be low
    "vlm.subject.style_stylized": (
        "subject",
        "style",
    ),  # leak of the style reference's subject: should be low
}
"""Column -> which question, and which image stands beside the stylized one; one forward pass."""


class VlmScorer(ModelScorer):
    """Columns of ``QUESTIONS``: expected ratings in [0, 4].

    ``model`` is anything that transformers' AutoProcessor and AutoModelForImageTextToText load and whose chat
    template takes two images. A unit is always scored alone (its four questions are the batch), so that its
    numbers do not depend on which units stand beside it. ``min_mass``: a judge that puts less probability
    than this on the five ratings together is not answering the question; that score is NaN.
    """

    kind: Literal["vlm"] = "vlm"
    model: str = "zoo:vlm"
    batch: Literal[1] = 1
    subject_question: str = SUBJECT_QUESTION
    style_question: str = STYLE_QUESTION
    min_mass: float = Field(default=0.25, ge=0.0, le=1.0)

    @property
    def columns(self) -> tuple[str, ...]:
        """Two that should be high, two that should be low."""
        return tuple(QUESTIONS)

    def load(self, device: str) -> Score:
        """Load processor and model once; the result scores units one by one."""
        from curate.models import resolve_model
        from filters.vlm_score import VlmScore

        return VlmScore(
            resolve_model(self.model),
            device=device,
            dtype=self.dtype,
            revision=self.revision,
            questions={"subject": self.subject_question, "style": self.style_question},
            min_mass=self.min_mass,
        )
