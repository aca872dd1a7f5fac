"""Sealed datasets into one: rows and bytes as they are; near-duplicates and the split are judged over all of them.

Nothing is decoded or encoded again and no rule is asked again: what a dataset kept stays kept unless another one brings
its near-duplicate or its subject on the other side of the split, which no single run could know.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from curate.dataset import SealedFolder
from curate.errors import ConfigError, StoreError
from curate.files import write_advice
from curate.seal import Judge, Judged, RuleSet, SealConfig, SealReport, changed_rules
from curate.seal.card import Origin
from curate.seal.facts import MADE, Facts, Verdict, numbered
from curate.seal.indexed import KEYS, NEEDED
from curate.seal.publish import DATASET_JSON, check_replaceable, mend, publish, staging_folder
from curate.seal.samples import Members, dump_json
from curate.seal.sealing import describe, report_of, write_sidecars, write_splits

SOURCE = "__dataset__"


def combine(sources: Sequence[SealedFolder], out: Path, *, skip_duplicates: bool = False,
            ids: frozenset[str] | None = None) -> SealReport:
    """Write one sealed folder out of several (or, with ``ids``, out of some units of one).

    Units that stand in two of them are refused, or with ``skip_duplicates`` taken from the first. Raises ConfigError
    when the datasets do not go together, StoreError when one is damaged or ``out`` cannot be written.
    """
    check_replaceable(out)
    datasets = [source.dataset for source in sources]
    suffixes = _agreed([tuple(dataset["members"]) for dataset in datasets], "members (shards.format)")
    table = _together(sources, skip_duplicates=skip_duplicates)
    rules = _rules(datasets)
    judged = _judge(table, rules, ids)
    unit_ids = table.column("unit_id").to_pylist()
    owners = {name: owner for dataset in datasets for name, owner in dataset["owners"].items()}
    origins: set[Origin] = set()
    build = _builder(sources, dict(zip(unit_ids, table.column(SOURCE).to_pylist(), strict=True)), tuple(suffixes),
                     list(owners), origins)
    kept = {u: side for u, side, keep in zip(unit_ids, table.column("split").to_pylist(), judged.kept.tolist(),
                                             strict=True) if keep}
    config = SealConfig.model_validate(datasets[0]["settings"])
    staged = staging_folder(out)
    try:
        mend(out)
        staged.mkdir(parents=True)
        shards, where = write_splits(staged, kept, build, config)
        index = _index(table, judged.table(unit_ids), where, ids)
        report = report_of(judged, shards, out)
        columns = {name: str(index.schema.field(name).type) for name in owners}
        dataset = describe(report, rules, config, columns=columns, owners=owners, scorers=_scorers(datasets))
        dataset["rules_differ"] = any(changed_rules(one).rules != rules.rules for one in datasets)
        dataset["models"] = _models(datasets)
        dataset["sources"] = [_source(one) for one in sources]
        write_sidecars(staged, dataset, index, origins)
        publish(out)
    except OSError as error:
        raise StoreError(f"{staged}: cannot be written: {write_advice(error)}") from error
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(staged, ignore_errors=True)
    return report


def _agreed(values: Sequence[Any], what: str) -> Any:
    if len(set(values)) > 1:
        there = ", ".join(map(str, dict.fromkeys(values)))
        raise ConfigError(f"the datasets have different {what}: {there}; seal them alike first")
    return values[0]


def _together(sources: Sequence[SealedFolder], *, skip_duplicates: bool) -> pa.Table:
    """All rows of all indexes; ``SOURCE`` says whose a row is."""
    parts: list[pa.Table] = []
    seen: dict[str, int] = {}
    twice: dict[str, tuple[int, int]] = {}
    for number, source in enumerate(sources):
        table = source.index()
        lacking = [name for name in NEEDED if name not in table.schema.names]
        if lacking:
            raise StoreError(f"{source.folder}: sealed by an earlier version (no {lacking[0]}); seal it again")
        unit_ids = table.column("unit_id").to_pylist()
        twice |= {unit_id: (seen[unit_id], number) for unit_id in unit_ids if unit_id in seen}
        fresh = pa.array([unit_id not in seen for unit_id in unit_ids], pa.bool_())
        seen |= {unit_id: number for unit_id in unit_ids if unit_id not in seen}
        parts.append(table.append_column(SOURCE, pa.array([number] * len(unit_ids), pa.int64())).filter(fresh))
    if twice and not skip_duplicates:
        unit_id, (first, second) = next(iter(twice.items()))
        raise ConfigError(f"{len(twice)} units stand in two datasets, as {unit_id} in {sources[first].folder} and "
                          f"{sources[second].folder}; --skip-duplicates takes them from the first")
    try:
        joined = pa.concat_tables(parts, promote_options="default")
    except pa.ArrowException as error:
        raise ConfigError(f"the datasets' score columns do not go together: {error}") from error
    for i, field in enumerate(joined.schema):
        if pa.types.is_string(field.type):
            joined = joined.set_column(i, field.name, joined.column(i).fill_null(""))
    return joined.combine_chunks()


def _rules(datasets: Sequence[Mapping[str, Any]]) -> RuleSet:
    """What they have in common: rules if all are equal, else none; the near-duplicates setting likewise."""
    sets = [changed_rules(dataset) for dataset in datasets]
    rules = sets[0].rules if all(one.rules == sets[0].rules for one in sets) else ()
    near = sets[0].near_duplicates if all(one.near_duplicates == sets[0].near_duplicates for one in sets) else None
    return RuleSet(rules=rules, near_duplicates=near)


def _judge(table: pa.Table, rules: RuleSet, ids: frozenset[str] | None) -> Judged:
    """Former verdicts stand; near-duplicates and leaks are looked for among the kept of all."""
    outcomes = {MADE: 0}
    rows = zip(*(table.column(name).to_pylist() for name in ("status", "stage", "reason")), strict=True)
    made = np.array([0 if row[0] == "kept" else outcomes.setdefault(Verdict(*row), len(outcomes)) for row in rows],
                    dtype=np.int64)
    near = rules.near_duplicates
    frame = pd.DataFrame(index=range(table.num_rows))
    if near and near.column in table.schema.names:
        frame[near.column] = table.column(near.column).to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)
    elif near:
        near = None
    sources, subjects = numbered(*(table.column(name).to_numpy() for name in KEYS))
    chosen = np.array([ids is None or unit_id in ids for unit_id in table.column("unit_id").to_pylist()], dtype=bool)
    facts = Facts(frame=frame, val=np.array([side == "val" for side in table.column("split").to_pylist()], dtype=bool),
                  made=made, outcomes=list(outcomes), unseen=np.full(len(made), -1), scorers=(), owners={"": ""},
                  errors={}, sources=sources, subjects=subjects, chosen=chosen)
    return Judge(facts)((), near)


def _builder(sources: Sequence[SealedFolder], source_of: Mapping[str, int], suffixes: Sequence[str],
             columns: Sequence[str], origins: set[Origin]) -> Callable[[str], Members]:
    """unit_id -> its members; their ``.json`` gets the score columns of all datasets, or loaders would see two kinds of
    samples. Notes the origins of what is built."""

    def build(unit_id: str) -> Members:
        source = sources[source_of[unit_id]]
        found = source.members(unit_id)
        try:
            described = json.loads(found["json"])
            scores = described["scores"]
            origins.update(Origin(one["licence"], one["attribution"], one["sha256"]) for one in described["inputs"])
            described["scores"] = {name: scores.get(name) for name in columns}
            found["json"] = dump_json(described).encode()
            return [(f"{unit_id}.{suffix}", found[suffix]) for suffix in suffixes]
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{source.folder}: sample {unit_id} is damaged ({error}); `curate verify` says more"
                             ) from error

    return build


def _index(table: pa.Table, verdicts: pd.DataFrame, where: Mapping[str, str], ids: frozenset[str] | None) -> pa.Table:
    unit_ids = table.column("unit_id").to_pylist()
    selected = [was is not False and (ids is None or unit_id in ids)
                for unit_id, was in zip(unit_ids, table.column("selected").to_pylist(), strict=True)]
    changes = {"index": pa.array(range(len(unit_ids)), pa.int64()), "selected": pa.array(selected, pa.bool_()),
               "shard": pa.array([where.get(unit_id, "") for unit_id in unit_ids], pa.string()),
               **{name: pa.array(verdicts[name].tolist(), pa.string()) for name in ("status", "stage", "reason")}}
    for name, column in changes.items():
        table = table.set_column(table.schema.get_field_index(name), name, column)
    return table.drop_columns([SOURCE])


def _scorers(datasets: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Scorers of all; one that ran at different fingerprints is said to be of various."""
    found: dict[str, set[str]] = {}
    for dataset in datasets:
        for one in dataset["scorers"]:
            found.setdefault(one["name"], set()).add(one["fingerprint"])
    return [(name, next(iter(prints)) if len(prints) == 1 else "various") for name, prints in found.items()]


def _models(datasets: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """The models of all, each once; a dataset sealed by an earlier version names none."""
    return [dict(one) for one in dict.fromkeys(tuple(each.items()) for of in datasets for each in of.get("models", ()))]


def _source(source: SealedFolder) -> dict[str, Any]:
    data = (source.folder / DATASET_JSON).read_bytes()
    kept = ("totals", "rules", "rule_labels", "near_duplicates", "scorers")
    return {"dataset_sha256": hashlib.sha256(data).hexdigest(), **{name: source.dataset[name] for name in kept}}
