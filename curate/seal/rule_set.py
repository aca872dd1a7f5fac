"""RuleSet: the part of a config that decides who is kept. A file of rules, or a whole run config, holds one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from curate.config import StrictModel, apply_overrides, load_yaml, parse
from curate.errors import ConfigError
from curate.seal.near_duplicates import NearDuplicateConfig
from curate.seal.rules import RuleConfig


class RuleSet(StrictModel):
    """Rules in order, then near-duplicates."""

    rules: tuple[RuleConfig, ...] = ()
    near_duplicates: NearDuplicateConfig | None = None

    @property
    def columns(self) -> set[str]:
        """Score columns that are asked for."""
        near = {self.near_duplicates.column} if self.near_duplicates else set()
        return {rule.column for rule in self.rules} | near


def changed_rules(values: Mapping[str, Any], file: Path | None = None, overrides: Sequence[str] = ()) -> RuleSet:
    """The rules in ``values``, those of a YAML ``file`` over them, ``key=value`` pairs over both, as ``seal`` has it.

    Raises ConfigError for a file without ``rules:``, and for a value or key that cannot be.
    """
    kept = {key: values[key] for key in RuleSet.model_fields if key in values}
    lines = None
    if file is not None:
        given, lines = load_yaml(file)
        if "rules" not in given:
            raise ConfigError("no `rules:` here", file=file)
        kept |= {key: given[key] for key in RuleSet.model_fields if key in given}
        parse(RuleSet, kept, file=file, lines=lines)
    return parse(RuleSet, apply_overrides(kept, overrides), file="--set" if overrides else file)
