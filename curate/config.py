"""Strict config pieces: pydantic v2, frozen, unknown keys refused with a suggestion, errors with file, key and line.

``load_yaml`` keeps the line of every key; ``parse`` turns pydantic's errors into one ``ConfigError`` that lists them.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from curate.errors import ConfigError


class StrictModel(BaseModel):
    """Base of every config class: frozen, no unknown keys, no silent coercion of strings to numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, protected_namespaces=())


class ResourcesConfig(StrictModel):
    """What one worker of a stage takes. ``cpus`` is also its torch thread count (fixed, so that bytes are)."""

    cpus: int = Field(default=1, ge=1)
    """Also its number of torch threads."""
    gpus: Annotated[float, Field(ge=0.0)] | Literal["auto"] = 0.0
    """Below 1: stages share a GPU. ``auto``: as much as the stage took in the pilot (see ``cluster.pilot``)."""
    replicas: Annotated[int, Field(ge=1)] | Literal["auto"] | tuple[int, int] = "auto"
    """Workers. ``auto``: balanced by the pilot, without one as many as fit; ``[min, max]``: Ray grows and shrinks the
    pool between them."""

    @field_validator("replicas")
    @classmethod
    def _is_range(cls, value: object) -> object:
        if isinstance(value, tuple) and not 1 <= value[0] <= value[1]:
            raise ValueError(f"[min, max] with 1 <= min <= max, not {list(value)}")
        return value


class StageConfig(StrictModel):
    """Base of expert and scorer configs: model work that runs in a worker. ``resources`` never enters an identity."""

    resources: ResourcesConfig = ResourcesConfig()
    """What a worker takes, and how many there are; changes no byte."""


Model = TypeVar("Model", bound=BaseModel)
Lines = dict[tuple[str | int, ...], int]


def load_yaml(path: Path) -> tuple[dict[str, Any], Lines]:
    """Values of a YAML mapping and the 1-based line of each key path."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", file=path) from error
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise ConfigError(f"not valid YAML: {getattr(error, 'problem', error)}", file=path,
                          line=mark.line + 1 if mark else None) from error
    if not isinstance(values, dict):
        raise ConfigError("a config is a mapping of keys to values", file=path, line=1)
    lines: Lines = {}
    _collect_lines(node, (), lines)
    return values, lines


def _collect_lines(node: yaml.Node | None, at: tuple[str | int, ...], lines: Lines) -> None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            lines[(*at, key.value)] = key.start_mark.line + 1
            _collect_lines(value, (*at, key.value), lines)
    elif isinstance(node, yaml.SequenceNode):
        for i, value in enumerate(node.value):
            lines[(*at, i)] = value.start_mark.line + 1
            _collect_lines(value, (*at, i), lines)


def apply_overrides(values: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """``--set a.b=value`` pairs over the YAML values (each value parsed as YAML; list items by index)."""
    result: dict[str, Any] = _copied(values)
    for item in overrides:
        key, eq, raw = item.partition("=")
        if not eq or not key:
            raise ConfigError(f"--set takes dotted.key=value, not {item!r}")
        try:
            value = yaml.safe_load(raw)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {item}: the value is not valid YAML") from error
        *path, last = key.split(".")
        at: Any = result
        for part in path:
            at = _child(at, part, key)
        if isinstance(at, list):
            at[_position(at, last, key)] = value
        elif isinstance(at, dict):
            at[last] = value
        else:
            raise ConfigError(f"--set {key}: {'.'.join(path)} is a value, not a group of keys", key=key)
    return result


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _copied(v) for k, v in value.items()}
    return [_copied(v) for v in value] if isinstance(value, list) else value


def _child(at: Any, part: str, key: str) -> Any:
    if isinstance(at, list):
        return at[_position(at, part, key)]
    if not isinstance(at, dict):
        raise ConfigError(f"--set {key}: nothing can stand under {part!r}", key=key)
    if at.get(part) is None:
        at[part] = {}
    return at[part]


def _position(items: list[Any], part: str, key: str) -> int:
    if not part.isdigit() or int(part) >= len(items):
        raise ConfigError(f"--set {key}: {part!r} is not an index below {len(items)}", key=key)
    return int(part)


def parse(cls: type[Model], values: Mapping[str, Any], *, file: Path | str | None = None, lines: Lines | None = None,
          ) -> Model:
    """An instance of ``cls``, or one ConfigError that names the first wrong key (and lists the others)."""
    try:
        return cls.model_validate_json(json.dumps(values, default=str))  # JSON rules: a YAML list may fill a tuple
    except ValidationError as error:
        errors = sorted(error.errors(include_url=False), key=lambda e: e["type"] != "extra_forbidden")  # typos first
        found = [_explain(cls, e, lines or {}) for e in errors]
        key, line, message = found[0]
        rest = "".join(f"\n  also {k}: {m}" for k, _, m in found[1:])
        raise ConfigError(message + rest, file=file, key=key, line=line) from error


def _explain(cls: type[BaseModel], error: Any, lines: Lines) -> tuple[str, int | None, str]:
    loc: tuple[str | int, ...] = error["loc"]
    path: tuple[str | int, ...] = ()
    line: int | None = None
    for i, part in enumerate(loc):  # pydantic also puts the tag of a union into the location: keep what the file has
        if (*path, part) in lines or i == len(loc) - 1 or not lines:
            path = (*path, part)
            line = lines.get(path, line)
    message = str(error["msg"])
    if error["type"] == "extra_forbidden":
        known = _field_names(cls)
        near = difflib.get_close_matches(str(loc[-1]), sorted(known), n=1)
        message = "unknown key" + (f"; did you mean {near[0]!r}?" if near else "")
        if loc[-1] in known:
            message = "unknown key here; it belongs into another part of the config"
    elif error["type"] == "missing":
        message = "this key is required"
    return ".".join(str(p) for p in path), line, message


def _field_names(cls: type[BaseModel]) -> set[str]:
    """Field names of a model and of all models it refers to, from its JSON schema."""
    names: set[str] = set(cls.model_fields)
    for definition in cls.model_json_schema().get("$defs", {}).values():
        names |= set(definition.get("properties", {}))
    return names
