"""Shards: what stock loaders read, how samples are spread, and what must not be in them."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from curate.records import Failure
from curate.seal import RuleConfig, SealConfig, seal
from curate.seal.samples import plain_number
from curate.seal.shards import planned_sizes, shard_order, write_shards
from curate.store import RunStore
from tests.runs import fill, make_units, make_work, png, seal_small

SUFFIXES = ["content.jpg", "style.jpg", "stylized.jpg", "txt", "json"]


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> RunStore:
    store = fill(tmp_path_factory.mktemp("run"))
    seal_small(store)
    return store


def members(path: Path) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    with tarfile.open(path) as tar:
        for member in tar:
            file = tar.extractfile(member)
            assert file is not None
            yield member, file.read()


def test_members_carry_nothing_but_the_sample(sealed: RunStore) -> None:
    for path in sealed.paths.shards.glob("*.tar"):
        inside = list(members(path))
        for member, _ in inside:
            assert (member.mtime, member.uid, member.gid, member.uname, member.gname, member.mode) == (
                0, 0, 0, "", "", 0o644)
        names = [m.name.split(".", 1) for m, _ in inside]
        assert [suffix for _, suffix in names] == SUFFIXES * (len(names) // 5)
        assert all(len({key for key, _ in names[i:i + 5]}) == 1 for i in range(0, len(names), 5))


def test_json_tells_all_of_the_sample_and_nothing_of_the_run(sealed: RunStore) -> None:
    by_id = {u.unit_id: u for u in sealed.units()}
    for path in sealed.paths.shards.glob("*.tar"):
        for member, data in members(path):
            if not member.name.endswith(".json"):
                continue
            said = json.loads(data)
            unit = by_id[said["unit_id"]]
            assert said["caption"] == unit.caption and said["layout"] == unit.layout and said["style"] == unit.style
            assert said["split"] == unit.side == path.name.split("-")[0]
            assert said["scores"]["csd.style_stylized"] == 0.75 and isinstance(said["scores"]["phash.bits"], int)
            assert json.loads(said["provenance"]) == {"stylize": {"kind": "blend"}}
            assert {(i["role"], i["licence"], i["attribution"]) for i in said["inputs"]} == {
                ("stylized", "MIT", "someone"), ("subject", "MIT", "someone")}
            assert b"/data" not in data and str(sealed.root).encode() not in data


@pytest.mark.filterwarnings("ignore")  # webdataset leaves shards to the garbage collector
def test_webdataset_reads_every_sample(sealed: RunStore) -> None:
    import webdataset as wds
    units = {u.unit_id: u for u in sealed.units()}
    urls = sorted(str(p) for p in sealed.paths.shards.glob("*.tar"))
    seen = []
    for sample in wds.WebDataset(urls, shardshuffle=False).decode("pil"):
        seen.append(sample["__key__"])
        assert all(sample[f"{role}.jpg"].size == (16, 16) for role in ("content", "style", "stylized"))
        assert sample["txt"] == units[sample["__key__"]].caption == sample["json"]["caption"]
    assert len(seen) == len(set(seen)) == 17


@pytest.mark.filterwarnings("ignore")  # third-party deprecations
def test_hugging_face_datasets_reads_every_sample(sealed: RunStore, tmp_path: Path) -> None:
    import datasets
    files = {"train": str(sealed.paths.shards / "train-*.tar"), "val": str(sealed.paths.shards / "val-*.tar")}
    loaded = datasets.load_dataset("webdataset", data_files=files, cache_dir=str(tmp_path))
    assert (len(loaded["train"]), len(loaded["val"])) == (13, 4)
    row = loaded["train"][0]
    assert row["stylized.jpg"].size == (16, 16) and row["json"]["unit_id"] == row["__key__"]
    assert row["json"]["inputs"][0]["licence"] == "MIT"


@pytest.mark.filterwarnings("ignore")
def test_hugging_face_datasets_reads_samples_with_gaps(tmp_path: Path) -> None:
    """Missing scores and mixed recipes must not change the shape of .json: Arrow fixes it from the first samples."""
    import datasets
    units = make_units(12)
    store = RunStore.create(tmp_path / "run", {}, units, 12)
    (block,) = store.blocks()
    store.commit_candidates(make_work(block), provenance={"a": 1})
    last = shard_order(u.unit_id for u in units)[-1]
    others = {u.unit_id: Failure("vlm", "no") for u in units if u.unit_id != last}
    store.commit_scores("vlm", "1", block, {last: {"vlm.x": 0.5}}, others)
    seal(store, rules=(RuleConfig(column="vlm.x", min=0.0, missing="ignore"),), scorers=(("vlm", "1"),))
    for split, n in (("train", 10), ("val", 2)):
        loaded = datasets.load_dataset("webdataset", data_files={split: str(store.paths.shards / f"{split}-*.tar")},
                                       cache_dir=str(tmp_path / "cache" / split))
        assert len(loaded[split]) == n
        for path in store.paths.shards.glob(f"{split}-*.tar"):
            said = [json.loads(data) for m, data in members(path) if m.name.endswith(".json")]
            assert all(list(s["scores"]) == ["vlm.x"] and isinstance(s["provenance"], str) for s in said)


@pytest.mark.parametrize(("config", "suffix", "exact"), [
    (SealConfig(format="png"), "png", True),
    (SealConfig(format="webp", lossless=True), "webp", True),
    (SealConfig(format="webp", quality=80), "webp", False),
    (SealConfig(quality=90), "jpg", False),
])
def test_formats(tmp_path: Path, config: SealConfig, suffix: str, exact: bool) -> None:
    store = fill(tmp_path, 4, failed=())
    seal_small(store, config=config)
    unit = store.units()[0]
    found = {m.name: data for m, data in members(store.paths.shards / "train-000000.tar")}
    image = Image.open(io.BytesIO(found[f"{unit.unit_id}.style.{suffix}"]))
    assert image.format == {"jpg": "JPEG"}.get(suffix, suffix.upper())
    original = np.asarray(Image.open(io.BytesIO(png(unit.unit_id, "style"))))
    assert np.array_equal(np.asarray(image.convert("RGB")), original) == exact


def test_lossless_is_for_webp_only() -> None:
    with pytest.raises(ValidationError, match="setting of webp"):
        SealConfig(format="jpg", lossless=True)


def test_sizes_are_even_and_as_few_as_allowed() -> None:
    assert planned_sizes(10, SealConfig(shard_samples=4)) == [3, 3, 4]
    assert planned_sizes(9, SealConfig(min_shards=4)) == [2, 2, 2, 3]
    assert planned_sizes(2, SealConfig(min_shards=4)) == [1, 1]
    assert planned_sizes(0, SealConfig()) == []


def test_size_limit_cuts_shards(tmp_path: Path) -> None:
    ids = [f"u{i}" for i in range(7)]
    big = {"u3"}

    def build(unit_id: str) -> list[tuple[str, bytes]]:
        return [(f"{unit_id}.bin", b"x" * (3_000_000 if unit_id in big else 300_000))]

    shards, where = write_shards(tmp_path, "train", ids, build, SealConfig(shard_mb=1.0))
    assert set(where) == set(ids) and sum(s.samples for s in shards) == 7
    assert [s.name for s in shards] == [f"train-{i:06d}.tar" for i in range(len(shards))]
    for shard in shards:
        assert (tmp_path / shard.name).stat().st_size == shard.bytes
        alone = where["u3"] == shard.name
        assert shard.bytes > 2**20 if alone else shard.samples <= 3
    assert [s.samples for s in shards if s.name == where["u3"]] == [1]


def test_styles_are_spread_over_shards(tmp_path: Path) -> None:
    """Plan order groups styles (all of one, then all of the next); no shard may."""
    units = make_units(90)
    style = {u.unit_id: u.index // 30 for u in units}
    _, where = write_shards(tmp_path, "train", list(style), lambda u: [(f"{u}.txt", b"")], SealConfig(shard_samples=30))
    for name in set(where.values()):
        assert len({style[u] for u, shard in where.items() if shard == name}) == 3


def test_numbers_in_json() -> None:
    values: list[tuple[Any, Any]] = [(np.float32(0.3), 0.3), (float(np.float32(0.3)), 0.3), (float("nan"), None),
                                     (None, None), (2**62 + 1, 2**62 + 1), (np.int64(-3), -3), (float("inf"), None)]
    for value, plain in values:
        assert plain_number(value) == plain and type(plain_number(value)) is type(plain)

