"""``seal``: decide on every unit and write the dataset. See the package docstring for what it promises."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from curate.errors import StoreError
from curate.files import make_folder, remove_tree, write_advice, write_atomic, write_json
from curate.seal.card import Origin, data_card
from curate.seal.config import SealConfig
from curate.seal.facts import ScoreTable, facts_of
from curate.seal.index import build_index, check_accounting
from curate.seal.judge import Judge, Judged, count_by, gather_scores
from curate.seal.models import models_of
from curate.seal.near_duplicates import NearDuplicateConfig
from curate.seal.publish import CARD, DATASET_JSON, INDEX, check_replaceable, mend, publish, staging_folder
from curate.seal.rule_set import RuleSet
from curate.seal.rules import RuleConfig
from curate.seal.samples import Members, build_sample, member_suffixes
from curate.seal.shards import Shard, write_shards
from curate.store import RunStore, with_captions
from curate.store.tables import write_table
from curate.unit_columns import units_of

FORMAT = 1
"""Of dataset.json and the samples; raised when an older reader would misread them."""
SPLITS = ("train", "val")


@dataclass(frozen=True, slots=True)
class SealReport:
    """What became of the plan: planned = kept + sum(rejected) + sum(failed) + pending."""

    planned: int
    kept: int
    rejected: dict[str, int]
    """Reason -> units, most first."""
    failed: dict[str, int]
    """"stage: reason" -> units, most first."""
    pending: int
    shards: tuple[Shard, ...]
    folder: Path

    @property
    def samples(self) -> dict[str, int]:
        """Kept units by split."""
        return {split: n for split in SPLITS if (n := sum(s.samples for s in self.shards if s.split == split))}


def seal(store: RunStore, *, rules: Sequence[RuleConfig] = (), near_duplicates: NearDuplicateConfig | None = None,
         config: SealConfig | None = None, scorers: Sequence[tuple[str, str]] = (),
         selected: frozenset[str] | None = None) -> SealReport:
    """Write ``shards/`` of a run anew from what is committed; the former set is replaced as a whole.

    ``scorers``: (name, fingerprint) of the scores to use; ``selected``: ids that may be kept, None = all. Equal inputs
    give equal bytes. Holds plan, ledger and scores of all units as columns. Raises ConfigError for a rule on a column
    nobody gives, StoreError for a damaged candidate, a full disk (the former set stays) or an accounting that does not
    add up.
    """
    config = config or SealConfig()
    final = store.paths.shards
    check_replaceable(final)
    ledger = store.ledger()
    plan = with_captions(store.plan.table(), ledger).combine_chunks()
    ids = pd.Index(plan.column("unit_id").to_pandas())
    scores = gather_scores(store, ids, scorers)
    facts = facts_of(plan, ledger, scores, selected=selected)
    judged = Judge(facts)(rules, near_duplicates)
    kept = plan.filter(pa.array(judged.kept)).select(["unit_id", "side"]).to_pydict()
    sides = dict(zip(kept["unit_id"], kept["side"], strict=True))
    build = _builder(store, plan, ids, ledger, scores, config)
    staged = staging_folder(final)
    try:
        mend(final)
        make_folder(staged)
        shards, where = write_splits(staged, sides, build, config)
        index = build_index(plan, judged.table(ids), facts, scores, where)
        check_accounting(plan, index, sum(shard.samples for shard in shards))
        report = report_of(judged, shards, final)
        columns = {name: str(index.schema.field(name).type) for name in scores.owners}
        dataset = describe(report, RuleSet(rules=tuple(rules), near_duplicates=near_duplicates), config,
                           columns=columns, owners=scores.owners, scorers=scorers)
        dataset["models"] = models_of(ledger.loc[list(sides), "provenance"])
        write_sidecars(staged, dataset, index, _origins(plan.filter(pa.array(judged.kept))))
        publish(final)
    except OSError as error:
        raise StoreError(f"{staged}: cannot be written: {write_advice(error)}") from error
    finally:
        with contextlib.suppress(OSError):
            remove_tree(staged)
    return report


def report_of(judged: Judged, shards: Sequence[Shard], folder: Path) -> SealReport:
    """The accounts of what was judged and written."""
    counts = judged.counts()
    by_status = {status: sum(n for verdict, n in counts.items() if verdict.status == status)
                 for status in ("kept", "pending")}
    return SealReport(planned=len(judged.codes), kept=by_status["kept"], rejected=count_by(counts, "rejected"),
                      failed=count_by(counts, "failed"), pending=by_status["pending"], shards=tuple(shards),
                      folder=folder)


def _builder(store: RunStore, plan: pa.Table, ids: pd.Index[Any], ledger: pd.DataFrame, scores: ScoreTable,
             config: SealConfig) -> Callable[[str], Members]:
    """unit_id -> its members; called from several threads. What it needs of a unit is taken out of the columns."""
    (batch,) = plan.to_batches() or [plan.schema.empty_table().to_batches()]
    numbers = {str(name): column.to_numpy(dtype=object) if column.dtype == "Int64" else column.to_numpy()
               for name, column in scores.frame.items()}

    def build(unit_id: str) -> Members:
        place = int(ids.get_indexer(pd.Index([unit_id]))[0])
        row: dict[str, Any] = {str(name): value for name, value in ledger.loc[unit_id].items()}
        found = {name: column[place] for name, column in numbers.items()}
        try:
            images = store.read_images(unit_id, row)
            (unit,) = units_of(batch.slice(place, 1))
            return build_sample(unit, images, found, row["provenance"], config)
        except StoreError as error:
            raise StoreError(f"unit {unit_id}: {error}") from error

    return build


def _origins(kept: pa.Table) -> set[Origin]:
    """The different source images of units."""
    items = kept.column("inputs").combine_chunks().flatten()
    terms = pa.table({name: items.field(name) for name in Origin._fields}).group_by(list(Origin._fields)).aggregate([])
    return {Origin(*row) for row in zip(*(column.to_pylist() for column in terms.columns), strict=True)}


def write_splits(folder: Path, side_of: Mapping[str, str], build: Callable[[str], Members], config: SealConfig,
                 ) -> tuple[list[Shard], dict[str, str]]:
    """The shards of both splits, and unit_id -> shard name. ``side_of``: kept unit -> split."""
    shards: list[Shard] = []
    where: dict[str, str] = {}
    for split in SPLITS:
        ids = [unit_id for unit_id, side in side_of.items() if side == split]
        written, places = write_shards(folder, split, ids, build, config)
        shards += written
        where |= places
    return shards, where


def describe(report: SealReport, rules: RuleSet, config: SealConfig, *, columns: Mapping[str, str],
             owners: Mapping[str, str], scorers: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """The content of dataset.json, without the checksums of its neighbours."""
    splits = {split: [s for s in report.shards if s.split == split] for split in SPLITS}
    return {
        "format": FORMAT,
        "members": list(member_suffixes(config)),
        "shards": [shard.as_dict() for shard in report.shards],
        "splits": {split: {"samples": sum(s.samples for s in shards), "shards": len(shards),
                           "bytes": sum(s.bytes for s in shards)} for split, shards in splits.items() if shards},
        "totals": {"planned": report.planned, "kept": report.kept, "rejected": report.rejected,
                   "failed": report.failed, "pending": report.pending},
        "columns": dict(columns),
        "owners": dict(owners),
        "scorers": [{"name": name, "fingerprint": fingerprint} for name, fingerprint in scorers],
        **rules.model_dump(mode="json"),
        "rule_labels": [rule.label for rule in rules.rules],
        "settings": config.model_dump(mode="json"),
    }


def write_sidecars(folder: Path, dataset: dict[str, Any], index: pa.Table, origins: Iterable[Origin]) -> None:
    """Card and index, then dataset.json, which says that the set is whole."""
    write_atomic(folder / CARD, data_card(dataset, origins).encode())
    write_table(folder / INDEX, index)
    files = {name: (folder / name).read_bytes() for name in (CARD, INDEX)}
    sums = {name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()}
    write_json(folder / DATASET_JSON, {**dataset, "files": sums})
