"""How many units a seal would keep now, without writing one: what a run asks that has a goal."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from curate.seal.facts import facts_of
from curate.seal.judge import Judge, gather_scores
from curate.seal.near_duplicates import NearDuplicateConfig
from curate.seal.rules import RuleConfig
from curate.store import RunStore


def count_kept(store: RunStore, *, rules: Sequence[RuleConfig], near_duplicates: NearDuplicateConfig | None,
               scorers: Sequence[tuple[str, str]]) -> int:
    """Units that rules, near-duplicates and the split let through, of those committed and scored so far."""
    plan, ledger = store.plan.table(), store.ledger()
    scores = gather_scores(store, pd.Index(plan.column("unit_id").to_pandas()), scorers)
    return int(Judge(facts_of(plan, ledger, scores))(rules, near_duplicates).kept.sum())
