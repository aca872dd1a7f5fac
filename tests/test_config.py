"""Strict config: unknown keys are refused with a suggestion; errors name file, dotted key and line."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import Field

from curate.config import StrictModel, apply_overrides, load_yaml, parse
from curate.errors import ConfigError


class Inner(StrictModel):
    threshold: float = 0.5
    names: tuple[str, ...] = ()


class Outer(StrictModel):
    size: int = Field(ge=16)
    inner: Inner = Inner()
    parts: dict[str, Inner] = Field(default_factory=dict)


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    return path


def error_of(path: Path) -> ConfigError:
    values, lines = load_yaml(path)
    with pytest.raises(ConfigError) as caught:
        parse(Outer, values, file=path, lines=lines)
    return caught.value


def test_unknown_key_is_refused_with_suggestion_and_line(tmp_path: Path) -> None:
    error = error_of(written(tmp_path, "# comment\nsize: 64\ninner:\n  treshold: 0.2\n"))
    assert (error.key, error.line) == ("inner.treshold", 4)
    assert "did you mean 'threshold'" in str(error)
    assert str(error).startswith(f"{tmp_path / 'c.yaml'}:4: inner.treshold:")


def test_a_key_in_the_wrong_place_is_not_suggested_to_itself(tmp_path: Path) -> None:
    error = error_of(written(tmp_path, "size: 64\nthreshold: 0.2\n"))
    assert error.key == "threshold" and "belongs into another part" in str(error)


def test_wrong_value_in_a_named_part_names_its_path(tmp_path: Path) -> None:
    error = error_of(written(tmp_path, "size: 64\nparts:\n  a:\n    threshold: high\n"))
    assert (error.key, error.line) == ("parts.a.threshold", 4)


def test_missing_key_and_range_are_both_listed(tmp_path: Path) -> None:
    assert "required" in str(error_of(written(tmp_path, "inner: {threshold: 0.1}\n")))
    error = error_of(written(tmp_path, "size: 3\ninner: {thresold: 1.0}\n"))
    assert "size" in str(error) and "inner.thresold" in str(error)


def test_strings_are_not_coerced_to_numbers(tmp_path: Path) -> None:
    assert error_of(written(tmp_path, "size: '64'\n")).key == "size"


def test_not_yaml_and_not_a_mapping(tmp_path: Path) -> None:
    for text in ("a: [1\n", "- 1\n"):
        with pytest.raises(ConfigError, match=r"c\.yaml"):
            load_yaml(written(tmp_path, text))
    with pytest.raises(ConfigError, match="cannot be read"):
        load_yaml(tmp_path / "absent.yaml")


def test_overrides_reach_nested_keys_and_list_items_and_leave_the_input_alone() -> None:
    values = {"size": 64, "rules": [{"min": 0.1}]}
    changed = apply_overrides(values, ["inner.threshold=0.9", "rules.0.min=0.4", "size=128"])
    assert changed == {"size": 128, "rules": [{"min": 0.4}], "inner": {"threshold": 0.9}}
    assert values == {"size": 64, "rules": [{"min": 0.1}]}


@pytest.mark.parametrize("item", ["size", "rules.7.min=1", "rules.x=1", "size.deep=1", "=3"])
def test_bad_overrides_say_what_is_wrong(item: str) -> None:
    with pytest.raises(ConfigError):
        apply_overrides({"size": 64, "rules": [{"min": 0.1}]}, [item])
