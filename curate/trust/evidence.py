"""All that a run knows of one unit: where it came from, what made it, how it was judged and by how much."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.compute as pc
from PIL import Image

from curate.config import parse
from curate.dataset import SealedFolder
from curate.errors import ConfigError, StoreError
from curate.interfaces import ROLES, ExpertRequest
from curate.planning import calls
from curate.records import Block, CaptionField, ExpertCall, Unit, captioned
from curate.run.config import RunConfig
from curate.run.stages import score_tables
from curate.seal import changed_rules, decide
from curate.seeds import seed
from curate.store import RunStore, captions_in

SHORTEST = 4
STAND_IN = Image.new("RGB", (1, 1))


@dataclass(frozen=True, slots=True)
class RuleVerdict:
    """One rule and the unit's number."""

    label: str
    value: float
    margin: float
    """Distance to the nearer bound: below 0 = broken; NaN = no number, or a rule of the other layout."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """See the module."""

    unit: Unit
    """With the captions that a captioner wrote for it."""
    written: Mapping[CaptionField, str]
    """Those captions alone."""
    block: Block
    config: RunConfig
    calls: tuple[ExpertCall, ...]
    info: Mapping[str, Any]
    ledger: Mapping[str, Any] | None
    """The row of the ledger; None while nothing is committed."""
    attempts: int
    """Times that work on its block was begun and not finished."""
    scores: Mapping[str, Mapping[str, float]]
    """Scorer -> column -> number."""
    errors: Mapping[str, str]
    """Scorer -> why it gave no numbers."""
    rules: list[RuleVerdict]
    sealed: Mapping[str, str] | None
    """status, stage, reason and shard of the index; None when nothing is sealed."""

    @property
    def provenance(self) -> dict[str, Any]:
        """What was committed with the images: the experts' identities and the run's seed."""
        return dict(json.loads(self.ledger["provenance"])) if self.ledger else {}

    def seed_of(self, call: ExpertCall) -> int:
        """Which seed the expert got."""
        return seed(self.config.seed, self.unit.unit_id, call.makes)

    def prompt_of(self, call: ExpertCall) -> str:
        """The words that the expert's model got; of an expert without templates (``prompt_for``) those it was asked.

        A stand-in takes the place of an image: only whether there is one counts.
        """
        words = str(getattr(self.unit, call.prompt)) if call.prompt else ""
        content, style = (STAND_IN if role in self.unit.inputs else None for role in (call.content, call.style))
        request = ExpertRequest(call.verb, content, style, words, self.unit.layout, self.seed_of(call))
        worded = getattr(self.config.experts[call.verb], "prompt_for", None)
        return str(worded(request)) if worded else words

    @property
    def image_sums(self) -> dict[str, str]:
        """Role -> sha256 of the committed PNG."""
        if not self.ledger or self.ledger["status"] != "made":
            return {}
        return {role: str(self.ledger[f"{role}_sha256"]) for role in ROLES}


def gather(store: RunStore, which: str) -> Evidence:
    """Of the unit whose id is ``which`` or begins so (or, as a number, of the unit at that place in the plan)."""
    unit = find_unit(store, which)
    config = parse(RunConfig, store.info["config"], file=store.paths.run_json)
    block, standing = store.plan.block(unit.index // store.plan.block_size), store.standing()
    row = dict(standing.row(unit.index, unit.unit_id)) if standing.status[unit.index] else None
    scores, errors = _scores(store, unit)
    written = captions_in(row or {})
    return Evidence(
        unit=captioned(unit, written), written=written, block=block, config=config, calls=calls(config.recipe),
        info=store.info, ledger=row,
        attempts=store.attempts(block.block_id) + store.attempts(unit.unit_id), scores=scores, errors=errors,
        rules=_rules(store, unit, config, {k: v for columns in scores.values() for k, v in columns.items()}),
        sealed=_sealed(store.root, unit))


def find_unit(store: RunStore, which: str) -> Unit:
    """ConfigError when there is none, or more than one."""
    plan = store.plan
    if which.isdigit() and len(which) < SHORTEST + 4 and int(which) < len(plan):
        return plan.units(int(which), int(which) + 1)[0]
    if len(which) < SHORTEST:
        raise ConfigError(f"{which!r}: give the id, at least {SHORTEST} digits of its beginning, or its number in the "
                          f"plan below {len(plan)}")
    found = np.flatnonzero(np.asarray(pc.starts_with(plan.table(["unit_id"]).column(0), which)))
    if len(found) != 1:
        what = f"{len(found)} units begin so; give more of the id" if len(found) else "no unit of the plan has this id"
        raise ConfigError(f"{which!r}: {what}")
    return plan.units(int(found[0]), int(found[0]) + 1)[0]


def _scores(store: RunStore, unit: Unit) -> tuple[dict[str, dict[str, float]], dict[str, str]]:
    scores: dict[str, dict[str, float]] = {}
    errors: dict[str, str] = {}
    for name, print_ in score_tables(store):
        frame = store.scores(name, print_)
        if unit.unit_id in frame.index:
            row = frame.loc[unit.unit_id]
            if row["error"]:
                errors[name] = str(row["error"])
            else:
                numbers: dict[Any, Any] = row.drop("error").to_dict()
                scores[name] = {str(k): int(v) if isinstance(v, int | np.integer) else float(v)
                                for k, v in numbers.items()}
    return scores, errors


def _rules(store: RunStore, unit: Unit, config: RunConfig, numbers: Mapping[str, float]) -> list[RuleVerdict]:
    """By the rules of the last seal, or of the config when nothing is sealed."""
    try:
        rules = changed_rules(SealedFolder(store.root).dataset).rules
    except StoreError:
        rules = config.rules
    frame = pd.DataFrame([{**numbers, "layout": unit.layout}], index=[unit.unit_id])
    margins = decide(frame, rules).margins
    return [RuleVerdict(rule.label, float(numbers.get(rule.column, float("nan"))), float(margins[rule.label].iloc[0]))
            for rule in rules]


def _sealed(root: Path, unit: Unit) -> dict[str, str] | None:
    try:
        table = SealedFolder(root).index(["unit_id", "status", "stage", "reason", "shard", "split"])
    except StoreError:
        return None
    row = next((row for row in table.to_pylist() if row["unit_id"] == unit.unit_id), None)
    return None if row is None else {name: str(value) for name, value in row.items()}
