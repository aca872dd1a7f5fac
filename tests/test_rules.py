"""Rules, near-duplicates and the split: who is kept and for what reason the others are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pydantic import ValidationError

from curate.records import Unit
from curate.seal import RuleConfig, broken_units, decide
from curate.seal.facts import ScoreTable, facts_of
from curate.seal.look_alikes import LookAlikes, near_pairs
from curate.seal.near_duplicates import find_twins
from curate.seal.split import leaking
from curate.unit_columns import batches
from tests.runs import item, make_units


def frame(**columns: list[object]) -> pd.DataFrame:
    n = len(next(iter(columns.values())))
    data = {name: np.array(v, dtype=object if name == "layout" else np.float32) for name, v in columns.items()}
    return pd.DataFrame(data, index=[f"u{i}" for i in range(n)])


def reasons(f: pd.DataFrame, *rules: RuleConfig) -> list[str]:
    return list(decide(f, rules).table["reason"])


def test_first_broken_rule_gives_the_reason() -> None:
    f = frame(a=[0.9, 0.1, 0.9, 0.1], b=[0.1, 0.1, 0.9, 0.9])
    low, high = RuleConfig(column="a", min=0.5), RuleConfig(column="b", max=0.5, reason="b leaks")
    assert reasons(f, low, high) == ["", "a too low", "b leaks", "a too low"]
    assert reasons(f, high, low) == ["", "a too low", "b leaks", "b leaks"]
    assert list(decide(f, [low, high]).table["verdict"]) == ["pass", "rejected", "rejected", "rejected"]


def test_bounds_are_inclusive_in_the_precision_of_the_scores() -> None:
    f = frame(a=[0.3, 0.30000007, 0.29999995])  # 0.3 is 0.30000001 in float32
    assert reasons(f, RuleConfig(column="a", max=0.3)) == ["", "a too high", ""]
    assert reasons(f, RuleConfig(column="a", min=0.3, max=0.3)) == ["", "a too high", "a too low"]
    for same in (f, f.astype(np.float64), f.astype(object)):  # a cascade holds the same numbers as Python floats
        assert broken_units(same, [RuleConfig(column="a", max=0.3)]).tolist() == [False, True, False]
        assert broken_units(same, [RuleConfig(column="a", min=0.3)]).tolist() == [False, False, True]


def test_margins_tell_how_far_from_the_bound() -> None:
    f = frame(a=[0.5, 1.0, 0.0, float("nan")])
    margins = decide(f, [RuleConfig(column="a", min=0.25, max=0.75)]).margins["a >= 0.25 and <= 0.75"]
    np.testing.assert_allclose(margins, [0.25, -0.25, -0.25, np.nan])


def test_rule_of_one_layout_leaves_the_other_alone() -> None:
    f = frame(a=[0.1, 0.1], layout=["preserved", "shifted"])
    assert reasons(f, RuleConfig(column="a", min=0.5, layout="shifted")) == ["", "a too low"]


def test_missing_numbers() -> None:
    f = frame(a=[float("nan"), 1.0], b=[0.9, 0.9])
    assert reasons(f, RuleConfig(column="a", min=0.5)) == ["a missing", ""]
    assert reasons(f, RuleConfig(column="a", min=0.5, missing="ignore")) == ["", ""]
    assert list(decide(f, [RuleConfig(column="a", min=0.5, missing="fail")]).table["verdict"]) == ["failed", "pass"]
    assert reasons(f, RuleConfig(column="nowhere", min=0.5)) == ["nowhere missing"] * 2
    # a number out of bounds outweighs one that is missing: the cascade spared the scorer of "a" because of "b"
    assert reasons(f, RuleConfig(column="a", min=0.5), RuleConfig(column="b", max=0.5)) == ["b too high"] * 2


def test_cascade_skips_only_what_known_numbers_broke() -> None:
    f = frame(a=[0.9, 0.1, float("nan")])
    rules = [RuleConfig(column="a", min=0.5), RuleConfig(column="later", min=0.5)]
    assert broken_units(f, rules).tolist() == [False, True, False]


def test_integer_columns_are_judged_too() -> None:
    f = pd.DataFrame({"n": pd.array([1, 5, None], dtype="Int64")}, index=["u0", "u1", "u2"])
    assert reasons(f, RuleConfig(column="n", min=3)) == ["n too low", "", "n missing"]


def test_rules_that_cannot_mean_anything_are_refused() -> None:
    with pytest.raises(ValidationError, match="needs min, max or both"):
        RuleConfig(column="a")
    with pytest.raises(ValidationError, match="nothing passes"):
        RuleConfig(column="a", min=1.0, max=0.0)


def near_duplicates(ids: list[str], bits: list[int], sources: list[str], *, max_distance: int) -> dict[str, str]:
    every = np.ones(len(ids), dtype=bool)
    alike = LookAlikes(np.array([b & (2**64 - 1) for b in bits], dtype=np.uint64), max_distance, among=every)
    twins = find_twins(alike, pd.factorize(np.array(sources, dtype=object))[0].astype(np.int64), np.arange(len(ids)))
    return {ids[i]: ids[twin] for i, twin in enumerate(twins) if twin >= 0}


def test_near_duplicates_keep_the_first_and_spare_the_same_source() -> None:
    bits = [0b0, 0b111, -1, 0b11, 0b1111111]
    ids, sources = ["a", "b", "c", "d", "e"], ["s1", "s2", "s3", "s1", "s5"]
    assert near_duplicates(ids, bits, sources, max_distance=3) == {"b": "a"}
    # e is 4 bits from b, but b is not kept; without b's twin it would go
    assert near_duplicates(ids[1:], bits[1:], sources[1:], max_distance=4) == {"d": "b", "e": "b"}
    assert near_duplicates(["x", "y"], [-2**63, 2**63 - 1], ["p", "q"], max_distance=31) == {}


def test_near_duplicates_of_many_units_agree_with_all_pairs() -> None:
    rng = np.random.default_rng(0)
    bits = [int(b) for b in rng.integers(0, 2**12, 400)]  # crowded: many within 2 bits
    ids, sources = [str(i) for i in range(400)], [str(i // 2) for i in range(400)]
    kept: list[int] = []
    expected = {}
    for i in range(400):
        twin = next((j for j in kept if (bits[i] ^ bits[j]).bit_count() <= 2 and sources[i] != sources[j]), None)
        if twin is None:
            kept.append(i)
        else:
            expected[ids[i]] = ids[twin]
    assert expected and near_duplicates(ids, bits, sources, max_distance=2) == expected


@pytest.mark.parametrize("max_distance", [0, 1, 4, 6, 7])
def test_pairs_by_blocks_are_those_of_all_against_all(max_distance: int) -> None:
    rng = np.random.default_rng(max_distance)
    seeds = rng.integers(0, 2**64, 500, dtype=np.uint64)
    bits = np.uint64(1) << rng.integers(0, 64, (7, 3000), dtype=np.uint64)
    flips = np.bitwise_or.reduce(np.where(rng.random(bits.shape) < 0.5, bits, np.uint64(0)), axis=0)
    hashes = np.unique(np.concatenate([seeds, seeds[rng.integers(0, 500, 3000)] ^ flips]))
    distances = np.bitwise_count(hashes[:, None] ^ hashes[None, :])
    expected = np.argwhere(np.triu(distances <= max_distance, 1))
    left, right = near_pairs(hashes, max_distance)
    assert len(hashes) > 2048 and np.array_equal(np.stack([left, right], axis=1), expected)
    assert max_distance == 0 or len(expected) > 20


def leaking_units(units: list[Unit], bits: dict[str, int], *, max_distance: int = 0) -> set[str]:
    ids = [unit.unit_id for unit in units]
    facts = facts_of(pa.Table.from_batches(batches(units)), pd.DataFrame(columns=["status", "stage", "reason"]),
                     ScoreTable(pd.DataFrame(index=range(len(ids))), {}, {}, {}))
    hashes, hashed = np.array([bits.get(u, 0) for u in ids], dtype=np.uint64), np.array([u in bits for u in ids])
    alike = LookAlikes(hashes, max_distance, among=hashed) if bits else None
    leaks = leaking(facts.subjects, facts.val, np.ones(len(ids), dtype=bool), alike, hashed)
    return {u for u, leak in zip(ids, leaks, strict=True) if leak}


def on(side: str, i: int, **changes: object) -> Unit:
    return replace(make_units(i + 1)[i], side=side, **changes)  # type: ignore[arg-type]


def test_subject_on_both_sides_leaks() -> None:
    train = on("train", 0, subject="Tent")
    clean = on("val", 1)
    target, reference = on("val", 2, subject="tent "), on("val", 3, style_subject="TENT")
    assert leaking_units([target, train, clean, reference], {}) == {target.unit_id, reference.unit_id}
    assert leaking_units([target, clean, reference], {}) == set()


def test_unknown_subject_is_known_by_its_image() -> None:
    same = {"stylized": item("one image"), "subject": item("p")}
    train = on("train", 0, subject="", style_subject="", inputs=same)
    val = on("val", 1, subject="", style_subject="", inputs={**same, "subject": item("q")})
    assert leaking_units([train, val], {}) == {val.unit_id}
    other = replace(val, inputs={"stylized": item("other image"), "subject": item("q")})
    assert leaking_units([train, other], {}) == set()


def test_style_images_may_serve_both_sides() -> None:
    pair = {"content": item("c1"), "style": item("s")}
    train = on("train", 0, recipe="from_pair", style_subject="", inputs=pair)
    val = on("val", 1, recipe="from_pair", style_subject="", inputs={"content": item("c2"), "style": item("s")})
    assert leaking_units([train, val], {}) == set()


def test_look_alike_across_the_sides_leaks() -> None:
    train, val = on("train", 1), on("val", 0)
    bits = {train.unit_id: 0b1, val.unit_id: 0b111}
    assert leaking_units([val, train], bits, max_distance=2) == {val.unit_id}
    assert leaking_units([val, train], bits, max_distance=1) == set()
