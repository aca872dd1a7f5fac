"""Who makes the images, as config: copies of an input, the known truth, a folder of images made elsewhere, a pipeline.

A system says which items it does (``refusal``), what its image of an item depends on (``fingerprint``), and loads into
a callable that makes a batch. Copies are what every system must beat; the truth is what none can.
"""

from __future__ import annotations

import json
import os
import string
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, NamedTuple

from pydantic import Field, field_validator

from curate.bench.items import TASKS, BenchItem, Picture, Task, slug
from curate.config import StrictModel
from curate.errors import ImageError
from curate.interfaces import ExpertRequest
from curate.seeds import digest
from pipelines.diffusers_expert import DiffusersExpert

if TYPE_CHECKING:
    from PIL.Image import Image

PATTERN_FIELDS: Final = ("id", "task", "subject", "content", "style", "prompt", "prompt_at", "seed")


class Failure(NamedTuple):
    """No image, and why."""

    reason: str


Make = Callable[[Sequence[BenchItem]], "list[Image | Failure]"]


class System(StrictModel):
    """Fields of all systems. ``tasks``: items of other tasks are skipped, which is counted and shown."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$")
    tasks: tuple[Task, ...] = Field(default=TASKS, min_length=1)
    batch: int = Field(default=8, ge=1)

    def refusal(self, item: BenchItem) -> str:
        """Why this system does not do an item; empty if it does."""
        return "" if item.task in self.tasks else f"{self.name} is not asked for {item.task} items"


class CopyContent(System):
    """Gives back the content image: perfect subject, no style."""

    kind: Literal["copy_content"] = "copy_content"

    def refusal(self, item: BenchItem) -> str:
        return super().refusal(item) or ("" if item.content else f"a {item.task} item has no content image")

    def fingerprint(self, item: BenchItem) -> str:
        return item.content.sha if item.content else ""

    def load(self, device: str) -> Make:
        return lambda items: [_open(item.content) for item in items]


class CopyStyle(System):
    """Gives back the style image: perfect style, wrong subject."""

    kind: Literal["copy_style"] = "copy_style"

    def refusal(self, item: BenchItem) -> str:
        return super().refusal(item) or ("" if item.style else f"a {item.task} item has no style image")

    def fingerprint(self, item: BenchItem) -> str:
        return item.style.sha if item.style else ""

    def load(self, device: str) -> Make:
        return lambda items: [_open(item.style) for item in items]


class TruthSystem(System):
    """Gives the right answer where the bench knows it to the pixel (emoji-bench): the most that a metric can show."""

    kind: Literal["truth"] = "truth"

    def refusal(self, item: BenchItem) -> str:
        known = item.truth is not None and item.truth.target is not None
        return super().refusal(item) or ("" if known else "the right answer is not known to the pixel")

    def fingerprint(self, item: BenchItem) -> str:
        return item.truth.target.sha if item.truth and item.truth.target else ""

    def load(self, device: str) -> Make:
        return lambda items: [_open(item.truth.target if item.truth else None) for item in items]


class FolderSystem(System):
    """Images that another system made elsewhere.

    ``pattern`` names an item's file below ``root``: fields {id} (as in the output folder), {task}, {subject},
    {content}, {style} (the bench's own names, files without endings), {prompt} (its words joined by hyphens, 60 bytes),
    {prompt_at} (its number, from 0) and {seed}; numbers take a format, as in {seed:03d}.
    """

    kind: Literal["folder"] = "folder"
    root: str
    pattern: str = "{task}/{id}.png"

    @field_validator("pattern")
    @classmethod
    def _fields_are_known(cls, pattern: str) -> str:
        named = [name for _, name, _, _ in string.Formatter().parse(pattern) if name is not None]
        unknown = [name for name in named if name not in PATTERN_FIELDS]
        if unknown or not named:
            raise ValueError(f"{'{' + unknown[0] + '}' if unknown else pattern!r} names no item; the fields are "
                             + ", ".join("{" + name + "}" for name in PATTERN_FIELDS))
        try:
            pattern.format(**dict.fromkeys(PATTERN_FIELDS, "") | {"prompt_at": 0, "seed": 0})
        except ValueError as error:
            raise ValueError(f"{pattern!r}: {error}; only numbers, {{prompt_at}} and {{seed}}, take a number's format, "
                             "as in {seed:03d}") from None
        return pattern

    def path_of(self, item: BenchItem) -> Path:
        """Where the item's image should lie."""
        return Path(self.root) / self.pattern.format(**_pattern_values(item))

    def holds(self, item: BenchItem) -> bool:
        """Whether that is inside ``root``: names may be anything, and a path that leads to the content image itself
        would be a perfect answer."""
        root, path = (Path(os.path.normpath(place.absolute())) for place in (Path(self.root), self.path_of(item)))
        return root in path.parents

    def fingerprint(self, item: BenchItem) -> str:
        path = self.path_of(item)
        return digest(path.read_bytes()) if path.is_file() else "missing"

    def load(self, device: str) -> Make:
        return lambda items: [self._read(item) for item in items]

    def _read(self, item: BenchItem) -> Image | Failure:
        path = self.path_of(item)
        return _open(Picture(path.stem, path)) if path.is_file() else Failure(f"no file {path}")


class PipelineSystem(System):
    """Any pipeline, ours or diffusers': ``expert`` is what stands under ``experts:`` in a run config.

    The pipeline gets the prompt, the content and style image if the item has them, and a generator with the item's
    seed, under the argument names that ``expert.images`` gives. ``batch`` items go into one call.

    The prompts of style and combined items go in the expert's templates, if it has some. That of a subject item goes as
    the bench has it: templates are worded for a style image, and it has none.
    """

    kind: Literal["pipeline"] = "pipeline"
    expert: DiffusersExpert

    def fingerprint(self, item: BenchItem) -> str:
        identity = self.expert.identity()
        if item.style is None:  # its prompt goes into no template
            identity["prompts"] = {}
        return digest(json.dumps(identity, sort_keys=True), item.fingerprint)

    def load(self, device: str) -> Make:
        expert = self.expert.load(device)

        def make(items: Sequence[BenchItem]) -> list[Image | Failure]:
            try:
                return list(expert([_request(item) for item in items]))
            except Exception as error:  # whatever a pipeline raises is that item's failure, not the end of the bench
                if len(items) == 1:
                    return [Failure(f"{type(error).__name__}: {error}")]
            return [made for item in items for made in make([item])]

        return make


AnySystem = CopyContent | CopyStyle | TruthSystem | FolderSystem | PipelineSystem
SystemConfig = Annotated[AnySystem, Field(discriminator="kind")]


def clashing_items(system: FolderSystem, items: Sequence[BenchItem]) -> tuple[BenchItem, BenchItem] | None:
    """Two items, of those that the system does, that the pattern leads to one file: the pattern is too short."""
    seen: dict[Path, BenchItem] = {}
    for item in items:
        if system.refusal(item):
            continue
        other = seen.setdefault(system.path_of(item), item)
        if other is not item:
            return other, item
    return None


def _request(item: BenchItem) -> ExpertRequest:
    return ExpertRequest("stylize", item.content.open() if item.content else None,
                         item.style.open() if item.style else None, item.prompt, "preserved", item.seed)


def _open(picture: Picture | None) -> Image | Failure:
    assert picture is not None, "items without this picture are refused before"
    try:
        return picture.open()
    except (ImageError, OSError) as error:
        return Failure(f"{picture.name}: {error}")


def _pattern_values(item: BenchItem) -> dict[str, str | int]:
    content, style = (picture.name if picture else "none" for picture in (item.content, item.style))
    return {"id": item.item_id, "task": item.task, "subject": item.subject, "seed": item.seed, "content": content,
            "style": style, "prompt": slug(item.prompt), "prompt_at": item.prompt_at}
