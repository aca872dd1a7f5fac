"""From facts to a status for every planned unit: kept, rejected, failed or pending, each with its reason.

Order: no images (pending, failed or turned down), a rule broken by a known number, scores still to come (pending),
missing numbers, left out by a selection, near-duplicates within a side, leaks across the sides. All of it in array
operations, for ``whatif`` asks it many times about a million units.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from curate.errors import ConfigError, StoreError
from curate.seal.facts import Facts, ScoreTable, Verdict
from curate.seal.look_alikes import Bools, Ints, LookAlikes
from curate.seal.near_duplicates import NearDuplicateConfig, find_twins
from curate.seal.rules import Numbers, RuleConfig, first_broken
from curate.seal.split import LEAK, leaking
from curate.store import RunStore

STATUSES = ("kept", "rejected", "failed", "pending")
RULES, SELECTION, DUPLICATES, SPLIT = "rules", "selection", "near_duplicates", "split"
"""Stages of a rejection, as they stand in the index."""
TWIN = "near duplicate of "
MAX_REASONS = 100
"""That the totals tell apart."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of N units."""

    verdicts: Sequence[Verdict]
    """The different verdicts; 0 is "kept"."""
    codes: Ints
    """(N,) position in ``verdicts``."""
    twins: Ints
    """(N,) the unit that a near-duplicate resembles, -1 for others."""

    @property
    def kept(self) -> Bools:
        """(N,)"""
        kept: Bools = self.codes == 0
        return kept

    def counts(self) -> Counter[Verdict]:
        """Units by verdict; near-duplicates are counted together."""
        counts = np.bincount(self.codes, minlength=len(self.verdicts))
        return Counter({verdict: int(n) for verdict, n in zip(self.verdicts, counts, strict=True) if n})

    def table(self, unit_ids: Sequence[str]) -> pd.DataFrame:
        """``status``, ``stage`` and ``reason`` of every unit, in plan order."""
        columns = {name: np.array([getattr(verdict, name) for verdict in self.verdicts], dtype=object)[self.codes]
                   for name in Verdict._fields}
        for i in np.flatnonzero(self.twins >= 0).tolist():
            columns["reason"][i] = TWIN + unit_ids[self.twins[i]]
        return pd.DataFrame(columns)


class Judge:
    """Judges the same facts by different rules; what near-duplicates cost is paid once for each setting of theirs.

    ``always``: rules that every call will contain. What they break is never kept, so nothing needs to look like it.
    """

    def __init__(self, facts: Facts, *, always: Sequence[RuleConfig] = ()) -> None:
        self.facts = facts
        self._numbers = Numbers(facts.frame)
        self._may_be_kept = facts.is_made & ~first_broken(self._numbers, always).out_of_bounds
        self._alike: dict[NearDuplicateConfig, tuple[LookAlikes, Bools]] = {}

    def __call__(self, rules: Sequence[RuleConfig], duplicates: NearDuplicateConfig | None) -> Judged:
        """Every unit's verdict. ConfigError for a rule on a column that no scorer gives."""
        check_columns(self.facts, rules, duplicates)
        facts, n = self.facts, len(self.facts.made)
        book = _Book(facts.outcomes)
        codes = facts.made.copy()
        twins = np.full(n, -1, dtype=np.int64)
        self._ask_rules(rules, codes, book)
        codes[(codes == 0) & ~facts.chosen] = book.number("rejected", SELECTION, "not selected")
        alike, hashed = (None, np.zeros(n, dtype=bool)) if duplicates is None else self._look_alikes(duplicates)
        if duplicates is not None and alike is not None:
            codes[(codes == 0) & ~hashed] = book.number("rejected", DUPLICATES, f"{duplicates.column} missing")
            kept = codes == 0
            for side in (~facts.val, facts.val):  # apart, so that no train unit gives way to a val unit
                found = find_twins(alike, facts.sources, np.flatnonzero(kept & side))
                twins = np.maximum(twins, found)
            codes[twins >= 0] = book.number("rejected", DUPLICATES, TWIN.removesuffix(" of "))
        leaks = leaking(facts.subjects, facts.val, codes == 0, alike, hashed)
        codes[leaks] = book.number("rejected", SPLIT, LEAK)
        return Judged(verdicts=book.verdicts, codes=codes, twins=twins)

    def _ask_rules(self, rules: Sequence[RuleConfig], codes: Ints, book: _Book) -> None:
        facts, made = self.facts, self.facts.is_made
        broken = first_broken(self._numbers, rules)
        for i, rule in enumerate(rules):
            codes[made & (broken.low == i)] = book.number("rejected", RULES, rule.reason_for("low"))
            codes[made & (broken.high == i)] = book.number("rejected", RULES, rule.reason_for("high"))
        open_ = made & ~broken.out_of_bounds
        for i in np.unique(facts.unseen[open_ & (facts.unseen >= 0)]).tolist():
            name = facts.scorers[i]
            codes[open_ & (facts.unseen == i)] = book.number("pending", name, f"not scored by {name}")
        open_ &= facts.unseen < 0
        for i, rule in enumerate(rules):
            mask = open_ & (broken.missing == i)
            if rule.missing == "fail":
                owner = facts.owners.get(rule.column, "score")
                said = facts.errors.get(owner, {})
                for unit in np.flatnonzero(mask).tolist():
                    codes[unit] = book.number("failed", owner, said.get(unit, rule.reason_for("missing")))
            else:
                codes[mask] = book.number("rejected", RULES, rule.reason_for("missing"))

    def _look_alikes(self, duplicates: NearDuplicateConfig) -> tuple[LookAlikes, Bools]:
        """The hashes of units that may be kept, and which of all units have one."""
        if duplicates not in self._alike:
            frame = self.facts.frame
            hashed = np.zeros(len(frame), dtype=bool)
            bits = np.zeros(len(frame), dtype=np.int64)
            if duplicates.column in frame.columns:
                hashed = frame[duplicates.column].notna().to_numpy(dtype=bool) & self._may_be_kept
                bits = frame[duplicates.column].to_numpy(dtype=np.int64, na_value=0)
            self._alike[duplicates] = LookAlikes(bits.view(np.uint64), duplicates.max_distance, among=hashed), hashed
        return self._alike[duplicates]


class _Book:
    """Numbers for verdicts, given out as they come up; 0 is "kept"."""

    def __init__(self, outcomes: Sequence[Verdict]) -> None:
        self.verdicts = list(outcomes)
        self._numbers = {verdict: i for i, verdict in enumerate(outcomes)}

    def number(self, status: str, stage: str, reason: str) -> int:
        verdict = Verdict(status, stage, reason)
        if verdict not in self._numbers:
            self._numbers[verdict] = len(self.verdicts)
            self.verdicts.append(verdict)
        return self._numbers[verdict]


def gather_scores(store: RunStore, unit_ids: pd.Index[Any], scorers: Sequence[tuple[str, str]]) -> ScoreTable:
    """The scores of ``scorers`` (name, fingerprint) side by side. StoreError when two give the same column."""
    parts: list[pd.DataFrame] = []
    owners: dict[str, str] = {}
    seen: dict[str, Bools] = {}
    errors: dict[str, dict[int, str]] = {}
    for name, fingerprint in scorers:
        scores = store.scores(name, fingerprint)
        at = unit_ids.get_indexer(scores.index)
        seen[name] = np.zeros(len(unit_ids), dtype=bool)
        seen[name][at[at >= 0]] = True
        said = np.flatnonzero((scores["error"] != "").to_numpy(dtype=bool) & (at >= 0))
        errors[name] = dict(zip(at[said].tolist(), map(str, scores["error"].iloc[said]), strict=True))
        part = scores.drop(columns="error").reindex(unit_ids)
        for column in part.columns:
            if column in owners:
                raise StoreError(f"scorers {owners[column]} and {name} both give {column}; seal with one of them")
            owners[str(column)] = name
        parts.append(part.reset_index(drop=True))
    frame = pd.concat(parts, axis=1) if parts else pd.DataFrame(index=range(len(unit_ids)))
    return ScoreTable(frame=frame, owners=owners, seen=seen, errors=errors)


def check_columns(facts: Facts, rules: Sequence[RuleConfig], duplicates: NearDuplicateConfig | None) -> None:
    """ConfigError when a rule asks for a column that no scorer gives: it would reject every unit as missing.

    Not checked while some scorer has given no numbers at all: its columns are not known yet.
    """
    if set(facts.owners.values()) != set(facts.scorers):
        return
    wanted = [("rules", rule.column) for rule in rules]
    wanted += [("near_duplicates", duplicates.column)] if duplicates else []
    for key, column in wanted:
        if column not in facts.owners:
            there = ", ".join(sorted(facts.owners)) or "none"
            raise ConfigError(f"no scorer of this run gives {column!r}; there are: {there}", key=key)


def count_by(counts: Mapping[Verdict, int], status: str) -> dict[str, int]:
    """Units of a status by reason, most first; failures with their stage, and those beyond ``MAX_REASONS`` together:
    each may name a file."""
    found: Counter[str] = Counter()
    for verdict, n in counts.items():
        if verdict.status == status:
            found[f"{verdict.stage}: {verdict.reason}" if status == "failed" else verdict.reason] += n
    ordered = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    rest = sum(n for _, n in ordered[MAX_REASONS:])
    return dict(ordered[:MAX_REASONS]) | ({"(other reasons)": rest} if rest else {})
