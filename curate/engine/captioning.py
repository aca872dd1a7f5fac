"""``CaptionStep``: words for the given images that have none, before the experts need them as prompts.

The plan draws no subject that the target's words name; where those words are written only here, it is seen only here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from PIL.Image import Image

from curate.engine.batches import Batch, Refusal
from curate.engine.steps import Apply, device_of, live_units, resources_of
from curate.images import decode
from curate.interfaces import Resources
from curate.planning.subjects import names
from curate.records import OWN_SUBJECT, CaptionField, Failure, InputRole, Unit, Work, captioned

Caption = Callable[[Sequence[Image]], Sequence[str]]
"""Images -> a few words for each."""


class CaptionerConfig(Protocol):
    """Config of a captioner (``pipelines.captioner``)."""

    def identity(self) -> dict[str, object]:
        """All that determines its words: goes into the ids of the units that it captions."""
        ...

    def load(self, device: str) -> Caption: ...


@dataclass(frozen=True)
class CaptionStep:
    """Writes the captions that a recipe wants and the plan lacks into ``work.captions``.

    ``wanted``: which caption is of which input. A unit that the captioner refuses fails, at stage ``caption``; one
    whose new subject turns out to be the target's own is turned down, ``OWN_SUBJECT``.
    """

    captioner: CaptionerConfig
    wanted: tuple[tuple[CaptionField, InputRole], ...]
    name: str = "caption"
    phase: Literal["makes"] = "makes"

    @property
    def resources(self) -> Resources:
        """Of the captioner's config."""
        return resources_of(self.captioner)

    def open(self) -> Apply:
        """Load the captioner."""
        batch = Batch[Image, str](self.captioner.load(device_of(self.resources)))

        def write(work: Work) -> Work:
            for field, role in self.wanted:
                self._write(batch, work, field, role)
            for unit in live_units(work):
                written = work.captions.get(unit.unit_id)
                if written and shows_own_subject(unit, written):
                    work.failures[unit.unit_id] = OWN_SUBJECT
            return work

        return write

    def _write(self, batch: Batch[Image, str], work: Work, field: CaptionField, role: InputRole) -> None:
        mute = {unit.unit_id for unit in live_units(work)
                if not getattr(unit, field) and role in work.images[unit.unit_id]}
        units = work.block.units
        written = batch.run([decode(work.images[u.unit_id][role]) if u.unit_id in mute else None for u in units])
        for unit, words in zip(units, written, strict=True):
            if isinstance(words, Refusal):
                work.failures[unit.unit_id] = Failure(self.name, f"{role}: {words.reason}")
            elif words is not None:
                work.captions.setdefault(unit.unit_id, {})[field] = words


def shows_own_subject(unit: Unit, written: Mapping[CaptionField, str]) -> bool:
    """Whether the new subject of a unit is one that its target shows, now that there are words for both.

    As in the plan, the words of the new subject may not stand in those of the target. Where they were written for its
    image they are a sentence, not a name: then the target's may not stand in them either.
    """
    if unit.recipe != "from_stylized":  # in the other recipe the style image is given, not drawn
        return False
    words = captioned(unit, written)
    if names(f"{unit.subject} {words.caption}", unit.style_subject or words.style_caption):
        return True
    return "style_caption" in written and names(words.style_caption, unit.subject or words.caption)
