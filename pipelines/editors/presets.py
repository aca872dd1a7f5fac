"""Presets: what is known of a model, as a file. ``preset: NAME`` under an expert takes configs/experts/NAME.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from curate.config import load_yaml

PRESETS = Path(__file__).parents[2] / "configs" / "experts"


def preset_names() -> list[str]:
    """All that there are."""
    return sorted(file.stem for file in PRESETS.glob("*.yaml"))


def with_preset(values: dict[str, Any]) -> dict[str, Any]:
    """The values of the preset named in ``values``, if any, with the other values over them; lists become tuples.

    Mappings are merged, lists are replaced. Another ``model`` than the preset's does not keep its licence. ValueError
    for a name that is not there, ConfigError for a file that cannot be read.
    """
    name = values.get("preset")
    if name is None:
        return {key: _frozen(value) for key, value in values.items()}
    path = Path(str(name)) if str(name).endswith(".yaml") else PRESETS / f"{name}.yaml"
    if not path.is_file():
        raise ValueError(f"no preset {name!r}; there are: {', '.join(preset_names())} (or the path of a .yaml file)")
    preset, _ = load_yaml(path)
    above = {key: value for key, value in values.items() if key != "preset"}
    if above.get("model", preset.get("model")) != preset.get("model"):
        preset.pop("licence", None)
    return {key: _frozen(value) for key, value in merged(preset, above).items()}


def merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """``above`` over ``below``, mapping by mapping."""
    result = dict(below)
    for key, value in above.items():
        under = result.get(key)
        result[key] = merged(under, value) if isinstance(value, dict) and isinstance(under, dict) else value
    return result


def _frozen(value: Any) -> Any:
    """Tuples for lists: past a validator of ours, pydantic no longer knows that the values came from JSON."""
    if isinstance(value, dict):
        return {key: _frozen(each) for key, each in value.items()}
    return tuple(_frozen(each) for each in value) if isinstance(value, list | tuple) else value
