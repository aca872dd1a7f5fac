"""Statistics of a run against counts known beforehand, sealed and not, and the tables made of them."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from rich.console import Console

from curate.errors import StoreError
from curate.files import write_json
from curate.report import collect, render
from curate.report.render import MAX_ROWS, size
from curate.report.stats import MAX_REASONS
from curate.store import RunStore
from curate.store.tables import read_table, write_table
from tests.drawn_run import csd_of, make_run, make_unit, seal_run


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 units, 36 committed: indices 9, 19, 29 failed; 1, 6, 11, ... break rule one; 2, 12, 22, 32 rule two."""
    root = tmp_path_factory.mktemp("runs") / "forty"
    seal_run(make_run(root, num_done=36))
    return root


@pytest.fixture(scope="module")
def stats(sealed: Path) -> dict[str, Any]:
    return collect(sealed)


def shown(stats: dict[str, Any], width: int = 110) -> str:
    console = Console(width=width, file=io.StringIO())
    console.print(render(stats))
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_funnel_adds_up(stats: dict[str, Any]) -> None:
    assert stats["funnel"] == {"planned": 40, "made": 33, "scored": {"csd": 33, "phash": 33}, "kept": 22,
                               "rejected": 11, "failed": 3, "pending": 4, "undecided": 0}
    assert stats["sealed"] and stats["made_since_seal"] == 0


def test_reasons_have_their_counts(stats: dict[str, Any]) -> None:
    assert [(row["status"], row["stage"], row["reason"], row["units"]) for row in stats["reasons"]] == [
        ("rejected", "rules", "csd.style.style_stylized too low", 7),
        ("pending", "candidates", "not made yet", 4),
        ("rejected", "rules", "content carries the style", 4),
        ("failed", "stylize", "the model returned no image", 3)]
    assert stats["failed_in"] == {"stylize": 3}


def test_quantiles_are_those_of_the_scores(stats: dict[str, Any]) -> None:
    column = "csd.style.style_stylized"
    rejected = [csd_of(make_unit(i))[column] for i in range(36) if i % 5 == 1 or i % 10 == 2]
    found = stats["scores"][column]
    assert found["rejected"]["n"] == len(rejected) == 11
    for q in (5, 25, 50, 75, 95):
        assert found["rejected"][f"p{q}"] == pytest.approx(np.percentile(rejected, q), rel=1e-4)
    assert found["kept"]["p5"] > 0.7


def test_missing_numbers_are_left_out_and_hashes_have_no_quantiles(stats: dict[str, Any]) -> None:
    with_number = [i for i in range(36) if i % 10 != 9 and i % 7 != 0]
    found = stats["scores"]["csd.content.style_stylized"]
    assert found["kept"]["n"] + found["rejected"]["n"] == len(with_number)
    assert "phash.bits" not in stats["scores"]


def test_yields(stats: dict[str, Any]) -> None:
    by_style = stats["yield"]["style"]
    assert by_style["fluent-emoji-high-contrast"]["yield"] == 0.0  # index % 5 == 1: all break rule one
    assert by_style["twemoji"]["yield"] == 1.0
    assert by_style["(no label)"] == {"planned": 8, "kept": 4, "rejected": 0, "failed": 3, "pending": 1, "undecided": 0,
                                      "yield": 0.5714}
    for rows in stats["yield"].values():
        assert sum(row["kept"] for row in rows.values()) in (22, 44)  # by expert: each unit has two
    assert set(stats["yield"]["layout"]) == {"preserved", "shifted"}


def test_experts_are_told_apart(stats: dict[str, Any]) -> None:
    by_expert = stats["yield"]["expert"]
    assert [name.split()[0] for name in by_expert] == ["destylize:", "stylize:"]
    assert all(row["planned"] == 36 and row["kept"] == 22 for row in by_expert.values())
    assert {e["identity"]["model_hash"] for e in stats["experts"].values()} == {"aa", "bb"}


def test_time_and_cost(stats: dict[str, Any]) -> None:
    assert stats["stages"]["stylize"] == {"units": 36, "seconds": 108.0, "images_per_second": 0.333,
                                          "gpu_seconds": 54.0}
    assert stats["cost"] == {"worker_seconds": 144.0, "gpu_seconds": 72.0, "worker_seconds_per_kept": 6.545,
                             "gpu_seconds_per_kept": 3.273}


def test_shards_and_licences(stats: dict[str, Any], sealed: Path) -> None:
    assert sum(shard["samples"] for shard in stats["shards"]) == 22
    for shard in stats["shards"]:
        assert shard["bytes"] == (sealed / "shards" / shard["name"]).stat().st_size
    assert stats["licences"] == {"Apache-2.0": {"planned": 40, "kept": 22}, "CC-BY-4.0": {"planned": 40, "kept": 22}}


def test_stats_are_json_and_repeat(stats: dict[str, Any], sealed: Path) -> None:
    assert json.loads(json.dumps(stats, allow_nan=False)) == stats == collect(sealed)


def test_work_after_the_seal_is_told(tmp_path: Path) -> None:
    seal_run(make_run(tmp_path / "run", num_done=20))
    make_run(tmp_path / "run", num_done=32)
    stats = collect(tmp_path / "run")
    assert stats["funnel"]["pending"] == 20
    assert stats["made_since_seal"] == 12
    assert "12 more were made since" in shown(stats)


def test_unsealed_run(tmp_path: Path) -> None:
    make_run(tmp_path / "run", num_done=20)
    stats = collect(tmp_path / "run")
    assert stats["funnel"] == {"planned": 40, "made": 18, "scored": {"csd": 18, "phash": 18}, "kept": 0, "rejected": 0,
                               "failed": 2, "pending": 20, "undecided": 18}
    assert not stats["sealed"] and stats["shards"] == []
    assert stats["scores"]["csd.style.style_stylized"]["undecided"]["n"] == 18
    assert stats["cost"]["gpu_seconds_per_kept"] is None
    assert {row["yield"] for row in stats["yield"]["style"].values()} == {None}
    assert stats["licences"]["CC-BY-4.0"] == {"planned": 40, "kept": 0}
    assert "(not sealed)" in shown(stats)


def test_a_run_that_made_nothing_yet(tmp_path: Path) -> None:
    make_run(tmp_path / "run", num_units=8, num_done=0)
    stats = collect(tmp_path / "run")
    assert stats["funnel"]["pending"] == 8 and stats["stages"] == {} and stats["scores"] == {}
    assert "planned" in shown(stats)


def test_units_of_an_earlier_plan_do_not_count(tmp_path: Path) -> None:
    make_run(tmp_path / "run", num_units=20)
    RunStore.open(tmp_path / "run").extend_plan([make_unit(i) for i in range(8)], 4)
    assert collect(tmp_path / "run")["funnel"]["made"] == 8
    assert collect(tmp_path / "run")["stages"]["stylize"]["units"] == 8


def test_no_run_directory(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="not a run directory"):
        collect(tmp_path)


def test_of_two_fingerprints_the_one_written_last_counts(tmp_path: Path) -> None:
    store = make_run(tmp_path / "run", num_units=8)
    block = store.blocks()[0]
    store.commit_scores("csd", "f0", block, {block.units[0].unit_id: {"csd.style.style_stylized": 0.125}})
    assert collect(tmp_path / "run")["scores"]["csd.style.style_stylized"]["undecided"]["p50"] == 0.125


def test_tables_show_what_matters(stats: dict[str, Any]) -> None:
    text = shown(stats)
    for part in ("forty", "csd.style.style_stylized too low", "(no label)", "57.1%", "CC-BY-4.0", "3.27 s", "stylize"):
        assert part in text
    assert max(len(line.rstrip()) for line in shown(stats, width=80).splitlines()) <= 80


def test_brackets_in_a_reason_are_no_markup(stats: dict[str, Any]) -> None:
    strange = {**stats, "reasons": [{"status": "failed", "stage": "input", "reason": "[red]bad[/] data", "units": 1}]}
    assert "[red]bad[/] data" in shown(strange)


def test_long_tables_say_what_is_left_out(stats: dict[str, Any]) -> None:
    row = stats["yield"]["style"]["twemoji"]
    rows = {f"style {i:02d}": {**row, "yield": 1 - i / 100} for i in range(MAX_ROWS + 4)}
    text = shown({**stats, "yield": {"style": rows}})
    assert "and 4 more" in text and "lowest first" in text
    assert "style 18" in text and "style 00" not in text


@pytest.mark.parametrize(("num_bytes", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2.5e9, "2.5 GB"),
                                                 (3e13, "30.0 TB")])
def test_size(num_bytes: float, text: str) -> None:
    assert size(num_bytes) == text


def test_a_large_index_is_quick(sealed: Path, tmp_path: Path) -> None:
    """200,000 units with as many distinct messages, without a loop over rows (a million takes about 5 s)."""
    num = 200_000
    root = tmp_path / "large"
    write_json(root / "run.json", json.loads((sealed / "run.json").read_text()))
    write_json(root / "shards" / "dataset.json", json.loads((sealed / "shards" / "dataset.json").read_text()))
    small = read_table(sealed / "shards" / "index.parquet").to_pandas()
    large = pd.concat([small] * (num // len(small)), ignore_index=True)
    large["unit_id"] = [f"{i:032x}" for i in range(num)]
    large["index"] = range(num)
    large["reason"] = large["reason"].where(large["status"] != "failed", "message " + large["unit_id"])
    write_table(root / "shards" / "index.parquet", pa.Table.from_pandas(large, preserve_index=False))
    start = time.perf_counter()
    stats = collect(root)
    assert time.perf_counter() - start < 10.0
    assert stats["funnel"]["kept"] == num * 22 // 40
    assert len(stats["reasons"]) == MAX_REASONS + 1
    assert sum(row["units"] for row in stats["reasons"]) == num * 18 // 40
