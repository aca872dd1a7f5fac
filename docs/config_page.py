"""The reference of config keys: every field of the config classes, with the words that stand under it in the code."""

from __future__ import annotations

import ast
import inspect
import json
import re
import textwrap
from collections.abc import Container, Iterator
from dataclasses import dataclass
from itertools import pairwise
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

INTRO = """# Configuration

Every key of the YAML files, made from the classes that read them: what stands here is what the program takes, and any
other key is refused, with file and line. A title says where its keys stand, in the words of `--set`: those under
`sources.NAME` are keys of every source, whatever you call it, and those under `rules.N` of every rule, counted from 0.
Commented examples lie in `configs/`, and the [tutorial](tutorial.md) explains one. Paths are relative to where the
command runs, unless a key says otherwise. "None" is YAML's `null`.
"""
PARTS = {
    "run": ("Runs", "For `curate run` and `curate plan`. A file for `--rules` has `rules` and `near_duplicates`."),
    "train": ("Trainings", "For `curate train`."),
    "bench": ("Benches", "For `curate bench`."),
    "list": ("The list of a bench", "The file that `bench: {kind: list, file: ...}` names."),
}
LONG = 200
"""Letters of a default that a table does not show."""
_SIMPLE = {str: "text", int: "integer", float: "number", bool: "`true` or `false`", NoneType: "`null`"}
_BOUNDS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<", "multiple_of": "a multiple of"}
_IN_CLASS = re.compile(r"^(\w+) {2,}(\S.*(?:\n {3,}.*)*)", re.MULTILINE)
"""A field that the docstring of its class explains: ``shift   which token count ...``, further lines indented."""


@dataclass(frozen=True, slots=True)
class Section:
    """One config class at the first place where it may stand."""

    part: str
    path: str
    cls: type[BaseModel]

    @property
    def title(self) -> str:
        """The place, and the kind where it has one."""
        _, kind = tag_of(self.cls)
        return f"`{self.path}`{f' ({kind})' if kind else ''}" if self.path else "At the top"

    @property
    def anchor(self) -> str:
        """Of its heading."""
        return re.sub(r"\W+", "-", f"{self.part} {self.path} {self.cls.__name__}").strip("-").lower()


def tag_of(cls: type[BaseModel]) -> tuple[str, str]:
    """The key with a single possible value, by which a config says that it means this class; "" and "" for none."""
    for name, field in cls.model_fields.items():
        if get_origin(field.annotation) is Literal and len(get_args(field.annotation)) == 1:
            return name, str(get_args(field.annotation)[0])
    return "", ""


def page() -> str:
    """Markdown of all keys."""
    found = sections()
    anchors = {section.cls: section.anchor for section in found}
    titles = {section.cls: section.title for section in found}
    links = {cls: f"[{titles[cls]}](#{anchors[cls]})" for cls in anchors}
    parts = [INTRO]
    for part, (title, about) in PARTS.items():
        parts.append(f"## {title}\n\n{about}")
        parts += [_section(section, links) for section in found if section.part == part]
    return "\n\n".join(parts) + "\n"


def sections() -> list[Section]:
    """Every config class once, each before those that stand in it."""
    from curate.bench.config import BenchConfig
    from curate.bench.listed import ListFile
    from curate.run.config import RunConfig
    from curate.train.config import TrainConfig

    found: dict[type[BaseModel], Section] = {}
    roots = {"run": RunConfig, "train": TrainConfig, "bench": BenchConfig, "list": ListFile}
    for part, root in roots.items():
        for section in _walk(part, "", root):
            found.setdefault(section.cls, section)
    return list(found.values())


def _walk(part: str, path: str, cls: type[BaseModel]) -> Iterator[Section]:
    yield Section(part, path, cls)
    for name, field in cls.model_fields.items():
        for below, inner in _models(field.annotation):
            yield from _walk(part, ".".join(step for step in (path, name, below) if step), inner)


def _models(annotation: Any) -> Iterator[tuple[str, type[BaseModel]]]:
    """Config classes in a type, and the step that leads to each: NAME in a mapping, N in a list."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield "", annotation
        return
    step = {dict: "NAME", tuple: "N"}.get(get_origin(annotation), "")
    for inner in get_args(annotation):
        for below, cls in _models(inner):
            yield ".".join(word for word in (step, below) if word), cls


def _section(section: Section, links: dict[type[BaseModel], str]) -> str:
    said, about = field_words(section.cls)
    rows = [f"| `{name}` | {_cell(_type(_annotated(field), links))} | {_cell(_default(field))} | "
            f"{_cell(said[name] or _first_sentence(field))} |" for name, field in section.cls.model_fields.items()]
    table = "\n".join(["| key | value | default | what it is |", "|---|---|---|---|", *rows])
    return f"### {section.title} {{ #{section.anchor} }}\n\n{about}\n\n{table}"


def _first_sentence(field: FieldInfo) -> str:
    """Of the one config class that the field holds: for fields that need no words of their own."""
    inside = [cls for _, cls in _models(field.annotation)]
    return re.split(r"(?<=\.)\s", inspect.cleandoc(inside[0].__doc__ or ""))[0] if len(inside) == 1 else ""


def field_words(cls: type[BaseModel]) -> tuple[dict[str, str], str]:
    """What the code says under each field, "" where nothing, and what the class says of itself."""
    said = dict.fromkeys(cls.model_fields, "")
    about: list[str] = []
    for base in reversed(cls.__mro__):
        if not issubclass(base, BaseModel) or base.__module__.startswith("pydantic") or "__doc__" not in vars(base):
            continue
        own = _under_fields(base)
        words = inspect.cleandoc(base.__doc__ or "")
        own |= {name: text for name, text in _IN_CLASS.findall(words) if name in cls.model_fields}
        said |= {name: " ".join(text.split()) for name, text in own.items() if name in said}
        mute = any(name in vars(base).get("__annotations__", {}) and not said[name] for name in said)
        if base is cls or mute:
            about.insert(0, _without_fields(words, said))
    return said, "\n\n".join(about)


def _without_fields(words: str, names: Container[str]) -> str:
    """A docstring less what it says line by line of fields."""
    return _IN_CLASS.sub(lambda found: "" if found[1] in names else found[0], words).strip()


def _under_fields(cls: type[BaseModel]) -> dict[str, str]:
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for field, below in pairwise(tree.body):
        match field, below:
            case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(str(words))):
                found[name] = words
    return found


def _annotated(field: FieldInfo) -> Any:
    return Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation


def _type(annotation: Any, links: dict[type[BaseModel], str]) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        told = [part for each in inner[1:] for part in getattr(each, "metadata", (each,))]
        bounds = [f"{sign} {getattr(each, name)}" for each in told for name, sign in _BOUNDS.items()
                  if getattr(each, name, None) is not None]
        words = _type(inner[0], links)
        return f"{words} ({', '.join(bounds)})" if bounds else words
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inner)
    if origin in (Union, UnionType):
        if all(each in links and any(tag_of(each)) for each in inner):
            named = ", ".join(f"[{tag_of(each)[1]}]({links[each].rpartition('(')[2]}" for each in inner)
            return f"one of these, by `{tag_of(inner[0])[0]}`: {named}"
        return " or ".join(dict.fromkeys(_type(each, links) for each in inner))
    if origin is dict:
        names = "names" if inner[0] is str else _type(inner[0], links)
        return f"mapping of {names} to {_type(inner[1], links)}"
    if origin is tuple:
        if inner[-1] is Ellipsis:
            return f"list of {_type(inner[0], links)}"
        return f"[{', '.join(_type(each, links) for each in inner)}]"
    return links.get(annotation) or _SIMPLE.get(annotation, "anything that JSON has")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    value = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, BaseModel):
        changed = value.model_dump(mode="json", exclude_unset=True)
        return f"`{json.dumps(changed)}`" if changed and len(str(changed)) < LONG else "see there"
    return f"`{json.dumps(value)}`" if value != "" else "empty"


def _cell(text: str) -> str:
    """Of a table: a bar outside code would end it."""
    return " ".join(text.split()).replace("|", "\\|")
