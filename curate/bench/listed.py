"""A bench as a YAML list: your own images and prompts, item by item. Paths are relative to the list.

    items:
    - {task: combined, content: cat.png, style: ink.png, prompt: a cat}
    - {task: style, style: ink.png, prompt: a lighthouse, subject: lighthouse, seed: 3}
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from curate.bench.items import BenchItem, Picture, Task, slug
from curate.config import StrictModel, load_yaml, parse
from curate.errors import ConfigError


class ListedItem(StrictModel):
    """One entry. ``subject`` defaults to the content's name, else the style's, ``id`` to its place in the list,
    ``seed`` to the bench's. A picture is called as its file without ending, with more of the path where two contents or
    two styles would share that.
    """

    task: Task
    content: str | None = None
    style: str | None = None
    prompt: str = ""
    id: str | None = None
    subject: str | None = None
    seed: int | None = None


class ListFile(StrictModel):
    """The file."""

    items: tuple[ListedItem, ...]


def read_list(file: Path, *, seed: int) -> list[BenchItem]:
    """Items in order; ConfigError with file, key and line for an entry that its task cannot use."""
    values, lines = load_yaml(file)
    listed = parse(ListFile, values, file=file, lines=lines).items
    names = {role: _names((getattr(entry, role) for entry in listed), file.parent) for role in ("content", "style")}
    items = []
    for at, entry in enumerate(listed):
        for fault in _faults(entry, file.parent):
            raise ConfigError(fault, file=file, key=f"items.{at}", line=lines.get(("items", at)))
        items.append(_item(entry, at, file.parent, names, seed))
    ids = [item.item_id for item in items]
    for at, item_id in enumerate(ids):
        if item_id in ids[:at]:
            line = lines.get(("items", at))
            raise ConfigError(f"the id {item_id!r} is taken", file=file, key=f"items.{at}.id", line=line)
    return items


def _faults(entry: ListedItem, folder: Path) -> Iterator[str]:
    needed = {"subject": ("content",), "style": ("style",), "combined": ("content", "style")}[entry.task]
    for role in ("content", "style"):
        path: str | None = getattr(entry, role)
        if path is None and role in needed:
            yield f"a {entry.task} item needs `{role}:`, an image"
        if path is not None and role not in needed:
            yield f"a {entry.task} item takes no `{role}:`; is it a combined item?"
        if path is not None and not (folder / path).is_file():
            yield f"{role}: {folder / path} is not there"


def _names(paths: Iterable[str | None], folder: Path) -> dict[str, str]:
    """Path -> what its picture is called: as short as tells the files apart."""
    files = {path: Path(os.path.normpath(folder.absolute() / path)) for path in paths if path}
    times = Counter(name for file in set(files.values()) for name in _possible(file))
    return {path: next(name for name in _possible(file) if times[name] == 1) for path, file in files.items()}


def _possible(file: Path) -> list[str]:
    """1, 1.png, a/1, a/1.png, ...; the last is the file's alone."""
    parts = file.parts[1:]
    tails = ["/".join(parts[at:]) for at in range(len(parts) - 1, -1, -1)]
    return list(dict.fromkeys(name for tail in tails for name in (tail.removesuffix(file.suffix), tail)))


def _item(entry: ListedItem, at: int, folder: Path, names: Mapping[str, Mapping[str, str]], seed: int) -> BenchItem:
    content, style = (Picture(names[role][path], folder / path) if path else None
                      for role, path in (("content", entry.content), ("style", entry.style)))
    named = content or style
    return BenchItem(item_id=slug(entry.id or f"item {at:05d}"), task=entry.task, prompt=entry.prompt,
                     subject=entry.subject or (named.name if named else ""), content=content, style=style,
                     seed=seed if entry.seed is None else entry.seed, prompt_at=at,
                     references=(content,) if content else ())
