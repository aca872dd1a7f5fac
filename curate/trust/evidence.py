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
MAX_UNITS = 20
"""That are named where several have the file that was asked for."""
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
    """Of the unit whose id is ``which`` or begins so (or, as a number, of the unit at that place in the plan; or, as a
    part of a file name, of the unit with such an input)."""
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
        raise ConfigError(f"{which!r}: give the id, at least {SHORTEST} digits of its beginning, its number in the "
                          f"plan below {len(plan)}, or {SHORTEST} letters of an input file's name")
    found = np.flatnonzero(np.asarray(pc.starts_with(plan.table(["unit_id"]).column(0), which)))
    if not len(found):
        return _of_file(store, which)
    if len(found) > 1:
        raise ConfigError(f"{which!r}: {len(found)} units begin so; give more of the id")
    return plan.units(int(found[0]), int(found[0]) + 1)[0]


def _of_file(store: RunStore, part: str) -> Unit:
    """The unit with an input file of which ``part`` is the name, or else a part of it."""
    inputs = store.plan.inputs()
    names = inputs["uri"].str.rpartition("/")[2].str.casefold()
    whole = names == part.casefold()
    mine = inputs[whole if whole.any() else names.str.contains(part.casefold(), regex=False)]
    ids = list(dict.fromkeys(mine["unit_id"]))
    if not ids:
        raise ConfigError(f"{part!r}: no unit of the plan has this id, nor an input file with this in its name")
    if len(ids) > 1:
        shown = mine.drop_duplicates("unit_id").head(MAX_UNITS)
        told = "".join(f"\n  {unit_id}  {role} {uri}"
                       for unit_id, role, uri in zip(shown["unit_id"], shown["role"], shown["uri"], strict=True))
        more = f"\n  and {len(ids) - MAX_UNITS} more" if len(ids) > MAX_UNITS else ""
        raise ConfigError(f"{part!r}: {len(ids)} units have an input file of such a name; give the id of one:"
                          f"{told}{more}")
    place = store.plan.table(["unit_id"]).column(0).index(ids[0]).as_py()
    return store.plan.units(place, place + 1)[0]


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
