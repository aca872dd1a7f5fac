"""Where the items of a bench come from, as config: ``bench: {kind: emoji | uso_bench | dreambench | list, ...}``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from curate.bench.items import TASKS, BenchItem, Task
from curate.bench.quoted import BenchName
from curate.config import StrictModel
from curate.errors import ImageError, SourceError
from curate.seeds import digest


class BenchSource(StrictModel):
    """Fields of all sources. ``limit``: only so many items a task, the same whatever the order of files."""

    seed: int = 0
    limit: int | None = Field(default=None, ge=1)
    tasks: tuple[Task, ...] = Field(default=TASKS, min_length=1)

    @property
    def quoted(self) -> BenchName | None:
        """The published table that belongs to this bench."""
        return None


class EmojiBench(BenchSource):
    """Built in; the right answers are known. ``parametric`` and ``sets``: styles for each subject."""

    kind: Literal["emoji"] = "emoji"
    subjects: int = Field(default=48, ge=2)
    parametric: int = Field(default=4, ge=0)
    sets: int = Field(default=2, ge=0)

    def read(self) -> list[BenchItem]:
        """The items; fetches emoji sets by npm once if they are not cached."""
        from curate.bench.emoji import EmojiPlan, emoji_items, rendered_emoji
        from curate.zoo.iconify import default_cache

        plan = EmojiPlan(self.subjects, self.parametric, self.sets, self.tasks, self.seed)
        return emoji_items(rendered_emoji(default_cache()), plan)


class UsoBench(BenchSource):
    """A folder in the USO-Bench layout (see ``layouts``)."""

    kind: Literal["uso_bench"] = "uso_bench"
    root: str
    images_per_prompt: int = Field(default=4, ge=1)
    images_per_combined: int = Field(default=1, ge=1)

    @property
    def quoted(self) -> BenchName | None:
        return "uso_bench"

    def read(self) -> list[BenchItem]:
        """The items of the folder."""
        from curate.bench.layouts import Repeats, read_uso_bench

        repeats = Repeats(self.images_per_prompt, self.images_per_combined)
        return read_uso_bench(Path(self.root), repeats=repeats, seed=self.seed, tasks=self.tasks)


class DreamBench(BenchSource):
    """The folder ``dataset`` of github.com/google/dreambooth.

    ``photograph``: which image of a subject is given: ``published``, the one that Kosmos-G chose for its evaluation and
    others after it (``layouts.CHOSEN_PHOTOGRAPHS``), or a number, counted in the order of names from 0.
    ``compare_with``: subject metrics against the given image or all images of the subject (DreamBooth).
    """

    kind: Literal["dreambench"] = "dreambench"
    root: str
    images_per_prompt: int = Field(default=4, ge=1)
    photograph: Annotated[int, Field(ge=0)] | Literal["published"] = "published"
    compare_with: Literal["given", "all"] = "given"
    tasks: tuple[Task, ...] = ("subject",)

    @property
    def quoted(self) -> BenchName | None:
        return "dreambench"

    def read(self) -> list[BenchItem]:
        """The items of the folder."""
        from curate.bench.layouts import Repeats, read_dreambench

        return read_dreambench(Path(self.root), repeats=Repeats(self.images_per_prompt), seed=self.seed,
                               photograph=self.photograph, compare_all=self.compare_with == "all")


class ListBench(BenchSource):
    """Items listed in a YAML file (see ``listed``); ``seed`` is of the items that have none of their own."""

    kind: Literal["list"] = "list"
    file: str

    def read(self) -> list[BenchItem]:
        """The items of the list."""
        from curate.bench.listed import read_list

        return read_list(Path(self.file), seed=self.seed)


SourceConfig = Annotated[EmojiBench | UsoBench | DreamBench | ListBench, Field(discriminator="kind")]


def read_items(source: EmojiBench | UsoBench | DreamBench | ListBench) -> list[BenchItem]:
    """The items that the config asks for, by task. SourceError where none is left or a picture is broken."""
    by_task: dict[Task, list[BenchItem]] = defaultdict(list)
    for item in source.read():
        by_task[item.task].append(item)
    items = [item for task in TASKS if task in source.tasks for item in _limited(by_task[task], source.limit)]
    if not items:
        raise SourceError(f"bench: this {source.kind} bench has no {' or '.join(source.tasks)} items; see bench.tasks")
    check_ids(items)
    check_pictures(items)
    return items


def check_ids(items: Sequence[BenchItem]) -> None:
    """Task and id name the files of an item: two items with the same would overwrite each other."""
    seen: set[tuple[Task, str]] = set()
    for item in items:
        if (item.task, item.item_id) in seen:
            raise SourceError(f"bench: two {item.task} items are called {item.item_id!r}; rename one of their images "
                              "(names are compared by their letters and digits)")
        seen.add((item.task, item.item_id))


def check_pictures(items: Sequence[BenchItem]) -> None:
    """Every picture of the bench is opened once: a broken bench stops before anything is made."""
    pictures = {picture for item in items for picture in (item.content, item.style, *item.references) if picture}
    for picture in sorted(pictures, key=lambda each: each.name):
        try:
            picture.open()
        except (ImageError, OSError) as error:
            where = picture.source if isinstance(picture.source, Path) else picture.name
            raise SourceError(f"{where}: this picture of the bench is unusable: {error}; mend or remove it") from error


def _limited(items: Sequence[BenchItem], limit: int | None) -> list[BenchItem]:
    """``limit`` items drawn by the hash of their ids, in their old order."""
    if limit is None:
        return list(items)
    chosen = set(sorted((item.item_id for item in items), key=digest)[:limit])
    return [item for item in items if item.item_id in chosen]
