"""Real content x style factorial data: emoji subjects, each drawn by up to eleven sets.

A set is a style and a name is a subject, so subject and style of every image are known exactly: that is the
ground truth from which the zoo's experts and scorers learn and against which they are measured. Subjects
that stand in at least 7 of the 11 sets are kept. All drawings are rendered once by resvg at 64 px and cached
as one file.

What stays unseen in training: 15 % of the subjects (`heldout_subjects`) and two whole sets (`HELDOUT_SETS`).
"""

import hashlib
import io
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from curate.sources.heldout import is_heldout
from curate.zoo.iconify import PACKAGE_VERSIONS, Icon, IconSet, default_cache, fetch_packages, read_set

IMAGE_PX: Final = 64
MIN_SETS: Final = 7
HELDOUT_SETS: Final = ("fxemoji", "emojione-v1")

PLAIN_SETS: Final = ("noto", "noto-v1", "twemoji", "openmoji", "fluent-emoji-flat", "emojione")
"""Sets in full colour: what content images are drawn by."""

# Sets that draw a subject with (almost) the same layout; the first of a group is its plain, fully coloured one.
ALIGNED_GROUPS: Final = (
    ("fluent-emoji-flat", "fluent-emoji", "fluent-emoji-high-contrast"),
    ("emojione", "emojione-monotone"),
    ("noto", "noto-v1"),
)


@dataclass(frozen=True)
class EmojiData:
    """All drawings, one row each; rows are ordered by subject, then by set.

    images         uint8 (N, 64, 64, 4), straight (not premultiplied) RGBA
    set_index      int64 (N,), into `set_names`
    subject_index  int64 (N,), into `subjects`
    subjects       human words, "red heart"
    licences       SPDX id of each set, in the order of `set_names`
    """

    images: NDArray[np.uint8]
    set_index: NDArray[np.int64]
    subject_index: NDArray[np.int64]
    set_names: tuple[str, ...]
    subjects: tuple[str, ...]
    licences: tuple[str, ...]

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """int64 (subjects, sets): the row of a subject's drawing in a set, -1 where that set does not draw it."""
        table = np.full((len(self.subjects), len(self.set_names)), -1, dtype=np.int64)
        table[self.subject_index, self.set_index] = np.arange(len(self.images))
        return table

    @cached_property
    def heldout_subjects(self) -> NDArray[np.bool_]:
        """bool (subjects,): True where the subject never enters a training. A function of the subject's name
        alone."""
        return np.array([is_heldout(subject) for subject in self.subjects])

    def find(self, set_name: str, subject: str) -> int | None:
        """The row of `subject` as drawn by `set_name`, or None where the set has no such drawing. Unknown
        names raise ValueError."""
        for name, known in ((set_name, self.set_names), (subject, self.subjects)):
            if name not in known:
                raise ValueError(f"{name!r} is not in the emoji data")
        row = int(self.rows[self.subjects.index(subject), self.set_names.index(set_name)])
        return row if row >= 0 else None

    def take(self, subjects: NDArray[np.bool_]) -> "EmojiData":
        """The same data with only the subjects that the mask names (toy sizes for tests)."""
        keep = subjects[self.subject_index]
        return EmojiData(
            images=self.images[keep],
            set_index=self.set_index[keep],
            subject_index=(np.cumsum(subjects) - 1)[self.subject_index[keep]].astype(np.int64),
            set_names=self.set_names,
            subjects=tuple(name for name, kept in zip(self.subjects, subjects, strict=True) if kept),
            licences=self.licences,
        )


def over(rgba: NDArray[np.uint8], colour: Sequence[int] = (255, 255, 255)) -> NDArray[np.uint8]:
    """Lay straight RGBA, uint8 (..., 4), over one RGB colour (0..255): uint8 (..., 3)."""
    alpha = rgba[..., 3:].astype(np.float32) / 255
    paper = np.asarray(colour, dtype=np.float32)
    mixed: NDArray[np.floating[Any]] = rgba[..., :3] * alpha + paper * (1 - alpha)
    return (mixed + 0.5).astype(np.uint8)


def load_emoji(cache: Path | None = None) -> EmojiData:
    """Load the data, fetching (npm, once) and rendering (about half a minute, once) what the cache folder
    lacks."""
    cache = cache or default_cache()
    path = cache / f"emoji-{IMAGE_PX}-{_version()}.npz"
    if not path.exists():
        packages = fetch_packages(cache)
        save_emoji(render_sets([read_set(packages / name) for name in PACKAGE_VERSIONS]), path)
    with np.load(path, allow_pickle=False) as arrays:
        return EmojiData(
            images=arrays["images"],
            set_index=arrays["set_index"],
            subject_index=arrays["subject_index"],
            set_names=tuple(arrays["set_names"].tolist()),
            subjects=tuple(arrays["subjects"].tolist()),
            licences=tuple(arrays["licences"].tolist()),
        )


def save_emoji(data: EmojiData, path: Path) -> None:
    """Write the cache file; it appears whole or not at all."""
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.npz")
    np.savez_compressed(
        temporary,
        images=data.images,
        set_index=data.set_index,
        subject_index=data.subject_index,
        set_names=np.array(data.set_names),
        subjects=np.array(data.subjects),
        licences=np.array(data.licences),
    )
    temporary.replace(path)


def render_sets(sets: Sequence[IconSet], *, min_sets: int = MIN_SETS) -> EmojiData:
    """Match the sets' subjects by key and render every drawing of those that stand in `min_sets` sets or more."""
    matched = match_subjects(sets, min_sets=min_sets)
    images, set_index, subject_index = [], [], []
    for subject, key in enumerate(matched):
        for which, icon in matched[key].items():
            images.append(render(icon.svg))
            set_index.append(which)
            subject_index.append(subject)
    return EmojiData(
        images=np.stack(images),
        set_index=np.array(set_index, dtype=np.int64),
        subject_index=np.array(subject_index, dtype=np.int64),
        set_names=tuple(each.name for each in sets),
        subjects=tuple(_words(icons.values()) for icons in matched.values()),
        licences=tuple(each.licence for each in sets),
    )


def match_subjects(sets: Sequence[IconSet], *, min_sets: int) -> dict[str, dict[int, Icon]]:
    """Key -> {set: its drawing}, in the order of the keys.

    Two names can be aliases of one drawing ("bear", "bear face"): the name that stands in more sets takes the
    drawing and the other loses it, else one subject would stand on both sides of the held-out line.
    """
    counts = Counter(key for each in sets for key in each.icons)
    taken: set[tuple[int, str]] = set()
    matched: dict[str, dict[int, Icon]] = {}
    for key in sorted(counts, key=lambda key: (-counts[key], key)):
        found = {which: each.icons[key] for which, each in enumerate(sets) if key in each.icons}
        free = {which: icon for which, icon in found.items() if (which, icon.parent) not in taken}
        if len(free) >= min_sets:
            matched[key] = free
            taken.update((which, icon.parent) for which, icon in free.items())
    return dict(sorted(matched.items()))


def render(svg: str, *, size_px: int = IMAGE_PX) -> NDArray[np.uint8]:
    """Draw one SVG document: uint8 (size_px, size_px, 4), centred where it is not square."""
    import resvg_py  # only rendering needs it, and a filled cache needs no rendering

    png = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=size_px, height=size_px, skip_system_fonts=True))
    with Image.open(io.BytesIO(png)) as image:
        drawn = image.convert("RGBA")
    if drawn.size != (size_px, size_px):
        canvas = Image.new("RGBA", (size_px, size_px))
        drawn.thumbnail((size_px, size_px))
        canvas.paste(drawn, ((size_px - drawn.width) // 2, (size_px - drawn.height) // 2))
        drawn = canvas
    return np.asarray(drawn, dtype=np.uint8)


def _words(icons: Iterable[Icon]) -> str:
    """The name with the most parts, as words: sets differ in whether they split "redheart"."""
    names = [icon.name.replace("_", "-") for icon in icons]
    return str(max(sorted(names), key=lambda name: name.count("-"))).replace("-", " ")


def _version() -> str:
    """Short hash of what the cache file depends on: the packages' versions and the selection."""
    text = f"{sorted(PACKAGE_VERSIONS.items())} {MIN_SETS} {IMAGE_PX} 1"
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
