"""What differs between the configs of two runs: a row a dotted key, rules by what they judge and not by their place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from curate.report.units import UnitTable
from curate.store import RunStore

LEFT_OUT = ("output", "engine")
"""Keys that change where and how fast a run is made, not what."""


def config_differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(key, value in one, value in the other) of every key whose values differ; "" = not there."""
    a, b = dict(_flat(one)), dict(_flat(other))
    return [(key, a.get(key, ""), b.get(key, "")) for key in dict.fromkeys([*a, *b]) if a.get(key) != b.get(key)]


def config_in_force(units: UnitTable, store: RunStore) -> dict[str, Any]:
    """The run's config with the rules that sealed it, and the experts' and scorers' identities (model hashes too)."""
    info = store.info
    config = {key: value for key, value in (info.get("config") or {}).items() if key not in LEFT_OUT}
    for key in ("experts", "scorers"):
        own = {name: dict(value) for name, value in (config.get(key) or {}).items()}
        for name, identity in (info.get(key) or {}).items():
            own.setdefault(name, {}).update(identity)
        config[key] = own
    if units.dataset is not None:
        config |= {key: units.dataset[key] for key in ("rules", "near_duplicates")}
    return config


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _flat(inner, f"{key}.{name}" if key else str(name))
    elif key == "rules":
        yield from _rules(value or ())
    elif value is not None:
        yield key, ", ".join(str(part) for part in value) if isinstance(value, list | tuple) else str(value)


def _rules(rules: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    seen: Counter[str] = Counter()
    for rule in rules:
        name = rule["column"] + (f" [{rule['layout']}]" if rule.get("layout") else "")
        seen[name] += 1
        bounds = [f"{sign} {rule[key]:g}" for sign, key in ((">=", "min"), ("<=", "max")) if rule.get(key) is not None]
        missing = f", missing: {rule['missing']}" if rule.get("missing", "reject") != "reject" else ""
        reason = f" ({rule['reason']})" if rule.get("reason") else ""
        yield f"rule on {name}" + (f" #{seen[name]}" if seen[name] > 1 else ""), " and ".join(bounds) + missing + reason
