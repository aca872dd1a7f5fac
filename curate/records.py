"""The rows that travel through the system: source items, units (the plan), blocks, and a block's work in flight."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from curate.interfaces import Layout, Role, Verb

RecipeName = Literal["from_stylized", "from_pair"]
InputRole = Literal["stylized", "content", "style", "subject"]
CaptionField = Literal["caption", "style_caption"]
CAPTION_FIELDS: tuple[CaptionField, ...] = ("caption", "style_caption")


@dataclass(frozen=True, slots=True)
class SourceItem:
    """One image that a source offers. ``locator`` lets any worker read its bytes again from the same source config."""

    source: str
    """Name of the source in the config: input, contents, styles or subjects."""
    locator: str
    uri: str
    """Where the image came from, for people (path, URL or package asset). Not part of any id."""
    sha256: str
    """Of the image's bytes as the source delivers them."""
    caption: str = ""
    subject: str = ""
    """Words that name the subject; the empty string when unknown (then the content hash stands in for splits)."""
    style: str = ""
    """Label of the style when known, for balanced sampling and for yield tables."""
    licence: str = ""
    attribution: str = ""

    @property
    def file_name(self) -> str:
        """What people call the file, without its folders: ``cat.png``, ``part-0.parquet#12``."""
        return (self.uri or self.locator).rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Unit:
    """One planned triplet.

    ``inputs`` by recipe: from_stylized has ``stylized`` (the target itself) and ``subject`` (a plain image of the new
    subject, or only its words as ``style_caption``); from_pair has ``content`` and ``style``.
    ``unit_id`` hashes everything that determines the result: recipe, layout, captions, the inputs' sha256, the run
    seed, image size, and the experts' identities.
    """

    unit_id: str
    index: int
    recipe: RecipeName
    layout: Layout
    caption: str
    """Of the content and of the target: names the subject."""
    style_caption: str
    """Of the style reference: names its (other) subject."""
    subject: str
    style_subject: str
    style: str
    side: Literal["train", "val"]
    """Planned side of the split: a hash of the subject; the style reference's subject is drawn from the same side."""
    inputs: Mapping[InputRole, SourceItem]


def captioned(unit: Unit, written: Mapping[CaptionField, str] | None) -> Unit:
    """The unit with the captions that a captioner wrote for it; those of the plan stay."""
    if not written:
        return unit
    return replace(unit, caption=unit.caption or written.get("caption", ""),
                   style_caption=unit.style_caption or written.get("style_caption", ""))


@dataclass(frozen=True, slots=True)
class Block:
    """A few units that are made, scored and committed together. ``block_id`` hashes the unit ids."""

    index: int
    block_id: str
    units: tuple[Unit, ...]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a unit has no images (stage ``input``, ``destylize``, ``stylize``, ``worker``) or no score (the scorer).

    The first line of ``reason`` is what is counted; a scorer may add lines of evidence.
    """

    stage: str
    reason: str
    rejects: bool = False
    """Nothing went wrong: the unit is turned down, so it counts as rejected."""


SUBJECT = "drawn_subject"
"""Stage of the units that are turned down before any expert works for them."""
OWN_SUBJECT = Failure(SUBJECT, "the drawn subject is the target's own", rejects=True)
"""Of a unit whose target shows what was drawn for its style reference, as a caption that was written later says."""


@dataclass(frozen=True, slots=True)
class ExpertCall:
    """One step of a recipe: which expert verb makes which role, out of which inputs or earlier roles."""

    makes: Role
    verb: Verb
    content: InputRole | None
    style: InputRole | None
    prompt: CaptionField | None = None
    """Which of the unit's captions the expert gets as its prompt; None = the empty prompt."""


@dataclass(slots=True)
class Work:
    """A block on its way through the stages. Images are encoded losslessly (PNG bytes), never raw arrays.

    ``units`` are the block's units in order. ``images[unit_id][role]``; a unit in ``failures`` is skipped by later
    stages but never leaves. ``seconds[stage]`` is wall time of the whole block in that stage.
    """

    block: Block
    images: dict[str, dict[str, bytes]] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)
    captions: dict[str, dict[CaptionField, str]] = field(default_factory=dict)
    """unit_id -> what the captioner wrote for captions that the plan lacks."""
    scores: dict[str, dict[str, dict[str, float | int]]] = field(default_factory=dict)
    """scorer name -> unit_id -> column -> value: what this pass computed (already committed by its stage)."""
    seconds: dict[str, float] = field(default_factory=dict)
    memory: dict[str, int] = field(default_factory=dict)
    """Stage -> most bytes that its worker held: of GPU memory where it has one, else of the whole process."""
