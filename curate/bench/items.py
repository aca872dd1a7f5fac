"""``BenchItem``: one image to be made, and what is known about it. The record that everything in this room shares."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from curate.images import decode, encode
from curate.seeds import digest

Task = Literal["subject", "style", "combined"]
TASKS: Final[tuple[Task, ...]] = ("subject", "style", "combined")

Floats: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True)
class Picture:
    """A reference or made image: a file, or encoded bytes. Opened only when its pixels are needed."""

    name: str
    source: Path | bytes = field(repr=False)

    @property
    def data(self) -> bytes:
        """The encoded bytes."""
        return self.source if isinstance(self.source, bytes) else self.source.read_bytes()

    @cached_property
    def sha(self) -> str:
        """Hash of the encoded bytes."""
        return digest(self.data)

    def open(self) -> Image.Image:
        """PIL RGB; ImageError where the bytes are no picture."""
        return decode(self.data)


@dataclass(frozen=True)
class Truth:
    """What emoji-bench knows of the right answer.

    candidates  plain drawings of held-out subjects by one set; ``subject_at`` is the place of the right one
    plain       the subject drawn plainly: whose style the answer must leave
    target      the right answer where it is known to the pixel
    set_name    the emoji set that drew the style reference, where the wanted style is a set
    """

    candidates: tuple[Picture, ...] = field(repr=False)
    subject_at: int
    plain: Picture
    target: Picture | None = None
    set_name: str | None = None


@dataclass(frozen=True, eq=False)
class BenchItem:
    """One image to be made; items are compared by identity, and task and id name one item of a bench.

    ``subject`` is the cluster of the bootstrap; ``references`` are all images that the subject metrics compare with
    (the content image alone unless a bench says otherwise); ``prompt_at`` numbers the prompts of the item's task.
    """

    item_id: str
    task: Task
    prompt: str
    subject: str
    content: Picture | None = None
    style: Picture | None = None
    seed: int = 0
    prompt_at: int = 0
    references: tuple[Picture, ...] = ()
    truth: Truth | None = field(default=None, repr=False)

    @cached_property
    def fingerprint(self) -> str:
        """Changes with all that a system is given: task, prompt, seed, and the bytes of both images."""
        images = [picture.sha if picture else "" for picture in (self.content, self.style)]
        return digest(self.task, self.prompt, self.seed, *images)


def picture_of(name: str, pixels: NDArray[np.uint8]) -> Picture:
    """A picture from uint8 (H, W, 3)."""
    return Picture(name, encode(Image.fromarray(pixels)))


def unit_floats(image: Image.Image, size: tuple[int, int]) -> Floats:
    """float32 (H, W, 3) in [0, 1], squashed to ``size`` (width, height) where it has another."""
    sized = image if image.size == size else image.resize(size, Image.Resampling.BICUBIC)
    return np.asarray(sized, dtype=np.float32) / np.float32(255)


def slug(text: str, *, most: int = 60) -> str:
    """Lower-case words joined by hyphens, safe in a file name: "A cat, sitting" -> "a-cat-sitting". Letters of any
    script stay; ``most``: bytes of UTF-8."""
    joined = re.sub(r"[\W_]+", "-", unicodedata.normalize("NFC", text).lower()).strip("-")
    return joined.encode()[:most].decode(errors="ignore").rstrip("-") or "none"


def words_of(name: str) -> str:
    """What a file's name says, for a prompt: "Red_Cup-2" -> "red cup 2"."""
    return " ".join(re.split(r"[\s_.-]+", unicodedata.normalize("NFC", name).lower())).strip()
