"""Exports, each read back by the tool it is for: datasets, pandas, open_clip's loader; energon's by its format."""

from __future__ import annotations

import io
import itertools
import json
import struct
import sys
import tarfile
from argparse import Namespace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from curate.cli import app, main
from curate.dataset import SealedFolder
from curate.errors import ConfigError, StoreError
from curate.seal import verify
from curate.trust.export import export
from curate.trust.export_energon import sample_offsets
from tests.drawn_run import make_run, seal_run

LEAVES_FILES_OPEN = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = make_run(tmp_path_factory.mktemp("exports") / "run")
    seal_run(store)
    return store.root


def kept(run: Path, split: str) -> list[str]:
    index = pd.read_parquet(run / "shards" / "index.parquet")
    return sorted(index["unit_id"][(index["status"] == "kept") & (index["split"] == split)])


@LEAVES_FILES_OPEN
def test_parquet_is_read_by_datasets_and_pandas(run: Path, tmp_path: Path) -> None:
    from datasets import Features, load_dataset

    export(run, tmp_path / "out", "parquet", None)
    assert (tmp_path / "out" / "README.md").read_text().startswith("---\nlicense: other")
    dataset = load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert set(dataset) == {"train", "val"} and isinstance(dataset["train"].features, Features)
    for split in ("train", "val"):
        assert sorted(dataset[split]["unit_id"]) == kept(run, split)
    row = dataset["train"][0]
    members = SealedFolder(run).members(row["unit_id"])
    for role in ("content", "style", "stylized"):
        with Image.open(io.BytesIO(members[f"{role}.jpg"])) as image:
            assert np.array_equal(np.asarray(row[role]), np.asarray(image))
    said = json.loads(members["json"])
    assert (row["caption"], row["style_name"]) == (said["caption"], said["style"])
    assert row["csd.style.style_stylized"] == pytest.approx(said["scores"]["csd.style.style_stylized"])
    assert row["phash.bits"] == said["scores"]["phash.bits"]  # all 64 bits
    assert json.loads(row["inputs"]) == said["inputs"]
    frame = pd.read_parquet(tmp_path / "out" / "data")
    assert len(frame) == sum(len(kept(run, split)) for split in ("train", "val"))
    assert set(frame["stylized"].iloc[0]) == {"bytes", "path"}


def test_large_splits_are_cut_into_files(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curate.trust.export_parquet.FILE_BYTES", 20_000)
    monkeypatch.setattr("curate.trust.export_parquet.ROWS", 4)
    export(run, tmp_path / "out", "parquet", None)
    names = sorted(path.name for path in (tmp_path / "out" / "data").glob("train-*"))
    assert len(names) > 2 and names[0] == f"train-00000-of-{len(names):05d}.parquet"
    assert sorted(pd.concat(pd.read_parquet(tmp_path / "out" / "data" / name) for name in names)["unit_id"]) == (
        kept(run, "train"))


@LEAVES_FILES_OPEN
def test_a_plain_folder_is_read_by_pandas_and_imagefolder(run: Path, tmp_path: Path) -> None:
    from datasets import load_dataset

    export(run, tmp_path / "out", "folder", None)
    frame = pd.read_csv(tmp_path / "out" / "val" / "metadata.csv")
    assert sorted(frame["unit_id"]) == kept(run, "val")
    for role in ("content", "style", "stylized"):
        assert all((tmp_path / "out" / "val" / name).is_file() for name in frame[f"{role}_file_name"])
    dataset = load_dataset("imagefolder", data_dir=str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert dataset["validation"][0]["stylized"].size == (64, 64)


@LEAVES_FILES_OPEN
def test_open_clip_reads_pairs_and_sizes(run: Path, tmp_path: Path) -> None:
    from open_clip_train.data import get_dataset_size, get_wds_dataset

    export(run, tmp_path / "out", "open_clip", None)
    first = str(tmp_path / "out" / "train-000000.tar")
    assert get_dataset_size(first) == (len(kept(run, "train")), 1)
    args = Namespace(val_data=first, val_num_samples=len(kept(run, "train")), train_data=None, batch_size=4, workers=0,
                     world_size=1, seed=0)
    seen: list[str] = []
    loader = get_wds_dataset(args, lambda image: np.asarray(image), is_train=False,
                             tokenizer=lambda text: [seen.append(text) or len(text)]).dataloader
    images = sum(len(batch[0]) for batch in loader)
    captions = [json.loads(SealedFolder(run).members(u)["json"])["caption"] for u in kept(run, "train")]
    assert images == len(captions) and sorted(seen) == sorted(captions)


def test_energon_gets_its_indexes(run: Path, tmp_path: Path) -> None:
    export(run, tmp_path / "out", "energon", None)
    counts = json.loads((tmp_path / "out" / ".nv-meta" / ".info.json").read_text())["shard_counts"]
    splits = yaml.safe_load((tmp_path / "out" / ".nv-meta" / "split.yaml").read_text())["split_parts"]
    assert splits == {"train": ["train-000000.tar"], "val": ["val-000000.tar"]}
    assert counts == {f"{split}-000000.tar": len(kept(run, split)) for split in splits}
    for name, count in counts.items():
        data = (tmp_path / "out" / name).with_suffix(".tar.idx").read_bytes()
        offsets = struct.unpack(f"<{len(data) // 8}Q", data)
        assert list(offsets) == sample_offsets(tmp_path / "out" / name) and len(offsets) == count + 1
        raw = (tmp_path / "out" / name).read_bytes()
        for begin, end in itertools.pairwise(offsets):  # a slice is a tar of one sample
            with tarfile.open(fileobj=io.BytesIO(raw[begin:end] + bytes(1024))) as tar:
                names = tar.getnames()
            assert len(names) == 5 and len({name.partition(".")[0] for name in names}) == 1


def test_shards_of_a_list_are_a_sealed_dataset(run: Path, tmp_path: Path) -> None:
    some = [*kept(run, "train")[:5], *kept(run, "val")[:1]]
    rejected = pd.read_parquet(run / "shards" / "index.parquet").query("status == 'rejected'")["unit_id"].iloc[0]
    (tmp_path / "ids.txt").write_text("\n".join([*some, rejected]))
    export(run, tmp_path / "out", "shards", tmp_path / "ids.txt")
    assert verify(tmp_path / "out") == []
    assert sorted(SealedFolder(tmp_path / "out").shard_of) == sorted(some)
    index = pd.read_parquet(tmp_path / "out" / "index.parquet").set_index("unit_id")
    assert (index["reason"] == "not selected").sum() == sum(len(kept(run, s)) for s in ("train", "val")) - 6
    export(run, tmp_path / "all", "shards", None)
    same = [(path.name, path.read_bytes()) for path in sorted((run / "shards").glob("*.tar"))]
    assert [(path.name, path.read_bytes()) for path in sorted((tmp_path / "all").glob("*.tar"))] == same


def test_the_command_writes_every_form_and_says_how_much(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                         capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ", ".join(f"{split} {len(kept(run, split))}" for split in ("train", "val"))
    for form, file in (("parquet", "data/val-00000-of-00001.parquet"), ("shards", "dataset.json"),
                       ("folder", "val/metadata.csv"), ("open_clip", "sizes.json"), ("energon", ".nv-meta/split.yaml")):
        done = CliRunner().invoke(app, ["export", str(run), str(tmp_path / form), "--as", form])
        assert done.exit_code == 0 and done.stderr.strip() == f"{sizes} in {tmp_path / form}", done.output
        assert (tmp_path / form / file).is_file() and (tmp_path / form / "README.md").is_file()
    some = kept(run, "train")[:3]
    (tmp_path / "ids.txt").write_text("\n".join(some))
    done = CliRunner().invoke(app, ["export", str(run), str(tmp_path / "few"), "--ids", str(tmp_path / "ids.txt")])
    assert done.exit_code == 0 and done.stderr.startswith("train 3 in ")
    lost = pd.read_parquet(run / "shards" / "index.parquet").query("status != 'kept'")["unit_id"].iloc[0]
    (tmp_path / "ids.txt").write_text("\n".join([*some, lost]))
    done = CliRunner().invoke(app, ["export", str(run), str(tmp_path / "rest"), "--ids", str(tmp_path / "ids.txt")])
    assert done.stderr.startswith("train 3 (1 of the list left out: not kept) in ")
    monkeypatch.setattr(sys, "argv", ["curate", "export", str(run), str(tmp_path / "few")])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2 and "not empty" in capsys.readouterr().err


def test_nothing_is_written_over(run: Path, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    for form in ("parquet", "folder", "open_clip", "shards", "energon"):
        with pytest.raises(StoreError, match=r"not empty|move it away"):
            export(run, tmp_path, form, None)
    (tmp_path / "ids.txt").write_text("nobody\n")
    with pytest.raises(ConfigError, match="'nobody' is no unit here"):
        export(run, tmp_path / "new", "parquet", tmp_path / "ids.txt")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ids.txt", "letter.txt"]
