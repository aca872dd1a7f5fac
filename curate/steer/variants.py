"""What ``whatif`` compares: the rules as they are, and changes of them by file, by values, or by leaving one out."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from curate.config import apply_overrides
from curate.errors import ConfigError
from curate.seal import RuleSet, changed_rules

MAX_VARIANTS = 200


class Variant(NamedTuple):
    """A rule set and what is different in it."""

    name: str
    rules: RuleSet


def variants(sealed: dict[str, Any], file: Path | None, overrides: Sequence[str]) -> list[Variant]:
    """The sealed rules first. Without a file or overrides: each rule left out once.

    An override under ``rules.N`` or ``near_duplicates`` may be a list of values, as in
    ``rules.0.min=[0.6,0.7,0.8]``: one variant for each, and for all combinations of several such lists.
    """
    found = [Variant("as sealed", changed_rules(sealed))]
    if file is None and not overrides:
        whole = found[0].rules
        for i, rule in enumerate(whole.rules):
            rest = whole.rules[:i] + whole.rules[i + 1:]
            found.append(Variant(f"without {rule.label}", whole.model_copy(update={"rules": rest})))
        if whole.near_duplicates:
            found.append(Variant("near-duplicates allowed", whole.model_copy(update={"near_duplicates": None})))
        return found
    combinations = list(itertools.product(*(_choices(item) for item in overrides)))
    if len(combinations) > MAX_VARIANTS:
        raise ConfigError(f"--set: {len(combinations)} combinations, at most {MAX_VARIANTS} at once")
    for combination in combinations:
        parts = [*([file.name] if file else []), *combination]
        found.append(Variant("  ".join(parts), changed_rules(sealed, file, combination)))
    return found


def _choices(item: str) -> list[str]:
    """``a=[1,2]`` as ``a=1`` and ``a=2``; anything else as it is. ConfigError for what belongs to no rule."""
    key, _, raw = item.partition("=")
    root, _, rest = key.partition(".")
    if root not in RuleSet.model_fields:
        raise ConfigError(f"--set {key}: only rules and near_duplicates can be tried out on scores that are there")
    apply_overrides({root: None} if not rest else {}, [f"x={raw}"])  # refuses a value that is not YAML
    value = yaml.safe_load(raw)
    if not rest or not isinstance(value, list):
        return [item]
    return [f"{key}={yaml.safe_dump(one, default_flow_style=True).split(chr(10))[0]}" for one in value]
