"""``ExpertStep``: one step of a recipe, an expert making one role of each unit of a block in one batch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from curate.engine.batches import Batch, Refusal
from curate.engine.captioning import CaptionerConfig
from curate.engine.steps import Apply, device_of, live_units, resources_of
from curate.images import decode, encode
from curate.interfaces import ExpertConfig, ExpertRequest, Resources
from curate.records import ExpertCall, Failure, InputRole, Unit, Work, captioned
from curate.seeds import seed

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class ExpertStep:
    """Makes ``call.makes`` out of the unit's images. Its seed is a function of run, unit and role alone."""

    call: ExpertCall
    expert: ExpertConfig
    run_seed: int
    phase: Literal["makes"] = "makes"

    @property
    def name(self) -> str:
        """The verb: what a unit that fails here has as its stage."""
        return self.call.verb

    @property
    def resources(self) -> Resources:
        """Of the expert's config."""
        return resources_of(self.expert)

    def open(self) -> Apply:
        """Load the expert. A picture of another size than the unit's others is a failed unit."""
        batch = Batch(self.expert.load(device_of(self.resources)))

        def make(work: Work) -> Work:
            live = {unit.unit_id for unit in live_units(work)}
            units = work.block.units
            requests = [self.request(unit, work) if unit.unit_id in live else None for unit in units]
            for unit, request, image in zip(units, requests, batch.run(requests), strict=True):
                if image is None or request is None:
                    continue
                reason = image.reason if isinstance(image, Refusal) else self.other_size(image, request)
                if isinstance(image, Refusal) or reason:
                    work.failures[unit.unit_id] = Failure(self.name, reason)
                else:
                    work.images[unit.unit_id][self.call.makes] = encode(image)
            return work

        return make

    def other_size(self, image: Image, request: ExpertRequest) -> str:
        """Why the picture cannot stand beside those that the expert was given, which have the run's size; "" = it can.

        Nothing is resized here: how a model's own sizes are met is the expert's business (``SizeRule``).
        """
        given = request.style if request.content is None else request.content
        if given is None or image.size == given.size:
            return ""
        named = getattr(self.expert, "model", self.expert.kind)
        return (f"{named} drew {_px(image)} where the run's pictures are {_px(given)} (size): set the run's size to "
                f"what the {self.name} expert draws, or give the expert a size rule, as size: {{multiple_of: 16}}")

    def request(self, unit: Unit, work: Work) -> ExpertRequest:
        """What the expert is asked for this unit."""
        images = work.images[unit.unit_id]

        def given(role: InputRole | None) -> bytes | None:
            return None if role is None else images.get(role)

        content, style = given(self.call.content), given(self.call.style)
        words = captioned(unit, work.captions.get(unit.unit_id))
        return ExpertRequest(
            verb=self.call.verb,
            content=None if content is None else decode(content),
            style=None if style is None else decode(style),
            prompt="" if self.call.prompt is None else str(getattr(words, self.call.prompt)),
            layout=unit.layout,
            seed=seed(self.run_seed, unit.unit_id, self.call.makes))


def _px(image: Image) -> str:
    return f"{image.width} x {image.height} px"


def provenance_of(expert: ExpertConfig | CaptionerConfig) -> dict[str, object]:
    """What is told of a model beside every image it helped to make: its identity, its licence, and its name.

    A path of this machine is no name: such a model is known by its hash, and by what ``licence`` says.
    """
    named = {name: str(getattr(expert, name, "")) for name in ("model", "licence")}
    if Path(named["model"]).exists():
        named["model"] = ""
    return {**{name: value for name, value in named.items() if value}, **expert.identity()}
