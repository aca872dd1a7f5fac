"""`curate.open`: triplets, scores and a look, in a notebook; importing curate stays light."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import curate
from curate.errors import StoreError
from tests.drawn_run import make_run, seal_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = make_run(tmp_path_factory.mktemp("opened") / "run")
    seal_run(store)
    return store.root


def test_importing_curate_loads_nothing_heavy() -> None:
    code = "import sys, curate; curate.open; print([m for m in ('numpy', 'pandas', 'PIL') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_triplets_and_scores(run: Path) -> None:
    ds = curate.open(run)
    index = pd.read_parquet(run / "shards" / "index.parquet").set_index("unit_id")
    kept = index[index["status"] == "kept"]
    assert len(ds) == len(kept) and [one.unit_id for one in ds] == list(kept.index) == ds.ids
    one = ds[0]
    assert one.stylized.size == (64, 64) and one.caption == kept["caption"].iloc[0]
    assert one.scores["csd.style.style_stylized"] == pytest.approx(kept["csd.style.style_stylized"].iloc[0])
    assert ds[ds.ids[-1]] == ds[-1]
    assert len(ds.scores) == 40 and ds.scores.query("status == 'rejected'")["csd.style.style_stylized"].min() < 0.5
    assert str(run) in repr(ds) and f"{len(kept)} kept" in repr(ds)


def test_rejected_ones_are_seen_in_a_run_and_not_in_a_copy_of_the_shards(run: Path, tmp_path: Path) -> None:
    ds = curate.open(str(run))
    rejected = ds.scores.index[ds.scores["status"] == "rejected"][0]
    assert ds[rejected].status == "rejected" and ds[rejected].content.size == (64, 64)
    failed = ds.scores.index[ds.scores["status"] == "failed"][0]
    with pytest.raises(StoreError, match="has no images"):
        ds[failed]
    copy = curate.open(shutil.copytree(run / "shards", tmp_path / "shards"))
    assert np.array_equal(np.asarray(copy[0].style), np.asarray(ds[0].style))
    with pytest.raises(StoreError, match="only the run has the images"):
        copy[rejected]
    with pytest.raises(StoreError, match="neither a run"):
        curate.open(tmp_path / "nowhere")


def test_show_draws_cards(run: Path) -> None:
    ds = curate.open(run)
    few, more = ds.show(2), ds.show(6)
    assert few.width < more.width and few.height < more.height
    assert ds.show(3, status="rejected").width == ds.show(3).width
    assert ds.show(3, status="failed").height == 6  # they have no images
    assert ds[0]._repr_png_().startswith(b"\x89PNG")
