"""Sources over real files: what is offered, in which order, with which labels, and what is said when it is wrong."""

from __future__ import annotations

import csv
import gzip
import io
import json
import pickle
import subprocess
import sys
import tarfile
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pydantic import TypeAdapter, ValidationError

from curate.errors import ImageError, SourceError
from curate.images import decode
from curate.records import SourceItem
from curate.sources import FolderSource, ParquetSource, Source, SourceConfig, WebdatasetSource
from curate.sources.base import content_hash
from curate.sources.labels import ColumnNames
from curate.sources.locations import split_pattern


def picture(red: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8, 8), (red, 0, 0)).save(out, "PNG")
    return out.getvalue()


def fill(folder: Path, files: dict[str, bytes | str]) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
    return folder


def by_name(source: Source) -> dict[str, SourceItem]:
    return {item.locator: item for item in source.scan().items}


def assert_reads_back(source: Source) -> None:
    """What a worker reads, from a pickled config, is what the scan hashed."""
    again = pickle.loads(pickle.dumps(source))
    items = source.scan("input").items
    assert items
    for item in items:
        assert content_hash(again.read(item.locator)) == item.sha256
        assert item.source == "input"


def test_folder_offers_images_whatever_they_are_called(tmp_path: Path) -> None:
    fill(tmp_path, {"a.PNG": picture(1), "deep/er/b.jpg": picture(2), "notes.txt": "no image", "bad.png": "words",
                    ".hidden/c.png": picture(3), "empty.png": b""})
    source = FolderSource(path=str(tmp_path))
    assert_reads_back(source)
    items = by_name(source)
    assert set(items) == {"a.PNG", "deep/er/b.jpg", "bad.png", "empty.png"}
    assert decode(source.read("deep/er/b.jpg")).getpixel((0, 0)) == (2, 0, 0)
    for name in ("bad.png", "empty.png"):  # offered, so that the run records them as failed
        with pytest.raises(ImageError):
            decode(source.read(name))
    assert items["a.PNG"].uri == f"{tmp_path}/a.PNG"


def test_order_and_choice_do_not_depend_on_names(tmp_path: Path) -> None:
    pictures = [picture(i) for i in range(20)]
    one = fill(tmp_path / "one", {f"{i:02}.png": data for i, data in enumerate(pictures)})
    two = fill(tmp_path / "two", {f"sub{i % 3}/{99 - i}.png": data for i, data in enumerate(pictures)})
    shas = [[item.sha256 for item in FolderSource(path=str(p)).scan().items] for p in (one, two)]
    assert shas[0] == shas[1] == sorted(shas[0])


def test_equal_bytes_are_one_item_and_counted(tmp_path: Path) -> None:
    fill(tmp_path, {"a.png": picture(1), "b.png": picture(1), "b.txt": "a red square", "c.png": picture(2)})
    items, report = FolderSource(path=str(tmp_path), sidecar="txt").scan()
    assert (report.found, report.duplicates, len(items)) == (3, 1, 2) and report.left_out == ("a.png (as b.png)",)
    assert "a red square" in {item.caption for item in items}, "the copy with a caption is the one that stays"


def test_unreadable_file_is_a_failed_unit_not_a_stopped_scan(tmp_path: Path) -> None:
    fill(tmp_path, {"a.png": picture(1)})
    for name in ("gone.png", "gone_too.png"):
        (tmp_path / name).symlink_to(tmp_path / "nowhere.png")
    source = FolderSource(path=str(tmp_path))
    assert set(by_name(source)) == {"a.png", "gone.png", "gone_too.png"}
    with pytest.raises(ImageError, match="cannot be read"):
        source.read("gone.png")


def test_folder_labels(tmp_path: Path) -> None:
    fill(tmp_path, {
        "ink/cat.png": picture(1), "ink/cat.json": json.dumps({"caption": "a cat", "subject": "cat", "licence": None}),
        "oil/dog.png": picture(2), "oil/dog.json": json.dumps({"caption": "a dog", "style": "impasto"}),
        "oil/owl.png": picture(3)})
    items = by_name(FolderSource(path=str(tmp_path), sidecar="json", style_from_parent=True, licence="CC0-1.0"))
    cat, dog, owl = (items[name] for name in ("ink/cat.png", "oil/dog.png", "oil/owl.png"))
    assert (cat.caption, cat.subject, cat.style, cat.licence) == ("a cat", "cat", "ink", "CC0-1.0")
    assert dog.style == "impasto"
    assert (owl.caption, owl.style, owl.licence) == ("", "oil", "CC0-1.0")
    assert by_name(FolderSource(path=str(tmp_path)))["oil/owl.png"].licence == "", "unknown stays unknown"


def write_table(path: Path, rows: list[dict[str, str]]) -> None:
    if path.suffix == ".csv":
        with open(path, "w", newline="") as f:
            writer = csv.DictWriter(f, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    elif path.suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_folder_table(tmp_path: Path, ending: str) -> None:
    fill(tmp_path, {"in/x/a.png": picture(1), "in/b.png": picture(2)})
    table = tmp_path / f"labels{ending}"
    write_table(table, [{"file": "x/a.png", "text": "from, the table", "author": "Ann"},
                        {"file": "./b.png", "text": "", "author": "7"}])
    source = FolderSource(path=str(tmp_path / "in"), table=str(table),
                          columns=ColumnNames(caption="text", attribution="author"))
    items = by_name(source)
    assert (items["x/a.png"].caption, items["x/a.png"].attribution) == ("from, the table", "Ann")
    assert (items["b.png"].caption, items["b.png"].attribution) == ("", "7")
    assert source.scan().report[2:] == ((), 2, 1, 0, 0, ())


def test_a_table_that_does_not_fit_the_pictures_is_noticed(tmp_path: Path) -> None:
    fill(tmp_path, {f"in/{i}.png": picture(i) for i in range(6)})
    table = tmp_path / "labels.csv"
    table.write_text("file,caption\n0.png,a cat\nnot_there.png,a dog\n")
    report = FolderSource(path=str(tmp_path / "in"), table=str(table)).scan().report
    assert report.notices == (f"{table}: of 2 rows 1 without a picture in the source: not_there.png",
                              f"{table}: of 6 pictures 5 without a row: 1.png, 2.png, 3.png and 2 more")
    with pytest.raises(SourceError, match=r"both table: .*labels\.csv and sidecar: txt"):
        FolderSource(path=str(tmp_path / "in"), table=str(table), sidecar="txt").scan()


def test_folder_complaints_name_the_place_and_the_way_out(tmp_path: Path) -> None:
    fill(tmp_path, {"in/a.png": picture(1), "in/a.json": "{not json", "labels.csv": "file,caption\nother.png,x\n",
                    "twice.csv": "file,caption\na.png,x\na.png,y\n", "empty/notes.md": "", "labels.xlsx": "x"})
    path, table = str(tmp_path / "in"), str(tmp_path / "labels.csv")
    cases: list[tuple[FolderSource, str]] = [
        (FolderSource(path=str(tmp_path / "none")), "none: no such folder"),
        (FolderSource(path=str(tmp_path / "in/a.png")), "a.png: no such folder"),
        (FolderSource(path=str(tmp_path / "empty")), r"empty: no file matches .*include"),
        (FolderSource(path=path, sidecar="json"), r"a\.json: not valid JSON"),
        (FolderSource(path=path, table=table), "names none of the 1 images.*other.png.*a.png"),
        (FolderSource(path=path, table=str(tmp_path / "twice.csv")), "row 2: 'a.png' stands there twice"),
        (FolderSource(path=path, table=table, columns=ColumnNames(style="look")), "no column 'look'"),
        (FolderSource(path=path, table=table, table_key="name"), "no column 'name'.*file, caption"),
        (FolderSource(path=path, table=str(tmp_path / "labels.xlsx")), "a table is a .csv"),
        (FolderSource(path=path, table=str(tmp_path / "missing.csv")), "missing.csv: cannot be read"),
        (FolderSource(path="nosuchprotocol://x"), "nosuchprotocol"),
    ]
    for source, message in cases:
        with pytest.raises(SourceError, match=message):
            source.scan()


def test_folder_on_a_url() -> None:
    fs = fsspec.filesystem("memory")
    fs.pipe({"/pics/a.png": picture(1), "/pics/sub/b.png": picture(2), "/pics/a.txt": b"a caption"})
    source = FolderSource(path="memory://pics", sidecar="txt")
    assert_reads_back(source)
    items = by_name(source)
    assert set(items) == {"a.png", "sub/b.png"} and items["a.png"].caption == "a caption"
    assert items["a.png"].uri == "memory://pics/a.png"


def parquet_file(path: Path, rows: list[dict[str, object]], **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path, **options)
    return path


def test_parquet_of_bytes_over_row_groups(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"image": picture(i), "caption": f"picture {i}"} for i in range(10)]
    rows[3]["image"] = None
    parquet_file(tmp_path / "p/train-0.parquet", rows, row_group_size=3)
    parquet_file(tmp_path / "p/train-1.parquet", [{"image": picture(50), "caption": "other"}])
    source = ParquetSource(path=f"{tmp_path}/p/train-{{0,1}}.parquet")
    assert_reads_back(source)
    items = by_name(source)
    assert len(items) == 11
    assert items["train-0.parquet#7"].caption == "picture 7"
    assert decode(source.read("train-0.parquet#7")).getpixel((0, 0)) == (7, 0, 0)
    assert source.read("train-0.parquet#3") == b"", "a missing image is an empty one: a failed unit"
    with pytest.raises(ImageError, match="row 99 of 10"):
        source.read("train-0.parquet#99")
    assert len(by_name(ParquetSource(path=f"{tmp_path}/p"))) == 11
    assert len(by_name(ParquetSource(path=f"{tmp_path}/p/*-1.parquet"))) == 1


def test_parquet_of_structs_and_of_paths(tmp_path: Path) -> None:
    fill(tmp_path, {"img/a.png": picture(1), "img/b.png": picture(2)})
    parquet_file(tmp_path / "hf.parquet", [{"picture": {"bytes": picture(3), "path": "x.png"}},
                                           {"picture": {"bytes": None, "path": "img/a.png"}}])
    source = ParquetSource(path=f"{tmp_path}/hf.parquet", image="picture")
    assert_reads_back(source)
    assert source.read("hf.parquet#1") == picture(1)
    paths = ["a.png", f"{tmp_path}/img/b.png", "c.png"]
    parquet_file(tmp_path / "paths.parquet", [{"image": path} for path in paths])
    source = ParquetSource(path=f"{tmp_path}/paths.parquet", image_root=f"{tmp_path}/img")
    assert len(source.scan().items) == 3
    assert [source.read(f"paths.parquet#{i}") for i in (0, 1)] == [picture(1), picture(2)]
    with pytest.raises(ImageError, match="cannot be read"):
        source.read("paths.parquet#2")


def test_parquet_complaints(tmp_path: Path) -> None:
    parquet_file(tmp_path / "a/x.parquet", [{"img": picture(1), "n": 3}])
    fill(tmp_path, {"b/x.parquet": "not parquet", "c/readme.md": ""})
    for source, message in [
        (ParquetSource(path=f"{tmp_path}/a"), r"x.parquet: no column 'image' \(image\); there are: img, n"),
        (ParquetSource(path=f"{tmp_path}/a", image="n"), "holds int, neither image bytes nor paths"),
        (ParquetSource(path=f"{tmp_path}/a", image="img", columns=ColumnNames(caption="text")), "no column 'text'"),
        (ParquetSource(path=f"{tmp_path}/b"), "x.parquet: not a readable parquet file"),
        (ParquetSource(path=f"{tmp_path}/c"), "no parquet file there"),
    ]:
        with pytest.raises(SourceError, match=message):
            source.scan()


def tar(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def test_webdataset(tmp_path: Path) -> None:
    tar(tmp_path / "w/set-000.tar", {
        "000.txt": b"first, by text\n", "000.png": picture(1), "000.json": b'{"subject": "one"}',
        "001.png": picture(2), "001.cls": b"7", "x/002.JPG": picture(3)})
    tar(tmp_path / "w/set-001.tar", {
        "000.png": picture(9), "001.png": b"", "000.json": b'{"caption": "by json"}', "000.txt": b"no"})
    source = WebdatasetSource(path=f"{tmp_path}/w/set-{{000..001}}.tar", licence="CC0-1.0")
    assert_reads_back(source)
    items = {item.uri.rpartition("/w/")[2]: item for item in source.scan().items}
    assert set(items) == {"set-000.tar#000.png", "set-000.tar#001.png", "set-000.tar#x/002.JPG",
                          "set-001.tar#000.png", "set-001.tar#001.png"}
    first = items["set-000.tar#000.png"]
    assert (first.caption, first.subject, first.licence) == ("first, by text", "one", "CC0-1.0")
    assert items["set-001.tar#000.png"].caption == "by json"
    assert source.read(items["set-001.tar#001.png"].locator) == b""
    assert len(WebdatasetSource(path=f"{tmp_path}/w", images=("png",)).scan().items) == 4


def test_webdataset_of_several_images_a_sample(tmp_path: Path) -> None:
    members = {"k.style.png": picture(1), "k.content.png": picture(2), "k.json": b'{"caption": "k"}'}
    path = tar(tmp_path / "t.tar", members)
    items = WebdatasetSource(path=str(path), images=("content.png",)).scan().items
    assert [(item.caption, item.sha256) for item in items] == [("k", content_hash(picture(2)))]


def test_webdataset_complaints(tmp_path: Path) -> None:
    whole = tar(tmp_path / "whole/a.tar", {"0.png": picture(1), "1.png": picture(2), "2.png": picture(3)})
    fill(tmp_path, {"cut/a.tar": whole.read_bytes()[:2200],
                    "mid/a.tar": whole.read_bytes()[:2600],
                    "end/a.tar": whole.read_bytes()[:3072], "packed/a.tar": gzip.compress(whole.read_bytes()),
                    "none/a.txt": ""})
    tar(tmp_path / "other/a.tar", {"0.bin": b"x", "0.json": b"{}"})
    tar(tmp_path / "badjson/a.tar", {"0.png": picture(1), "0.json": b"[1]"})
    for folder, message in [
        ("cut", "a.tar: not a whole, uncompressed tar"), ("mid", "a.tar: not a whole"), ("end", "a.tar: not a whole"),
        ("packed", "a.tar: not a whole, uncompressed tar"), ("none", "no tar there"),
        ("other", "no member ends in png.*there are: bin, json"), ("badjson", "0.json: expected a JSON object"),
    ]:
        with pytest.raises(SourceError, match=message):
            WebdatasetSource(path=f"{tmp_path}/{folder}").scan()
    source = WebdatasetSource(path=str(whole))
    last = max(source.scan().items, key=lambda item: int(item.locator.rpartition("#")[2].split("+")[0]))
    whole.write_bytes(whole.read_bytes()[:2200])
    with pytest.raises(ImageError, match="ends within the member"):
        source.read(last.locator)


@pytest.mark.parametrize("path,folder,patterns", [
    ("data", "data", ["**/*.tar"]), ("data/a.tar", "data", ["a.tar"]), ("a.tar", ".", ["a.tar"]),
    ("s3://b/x/s-{00..02}.tar", "s3://b/x", ["s-00.tar", "s-01.tar", "s-02.tar"]),
    ("/d/{a,b}/*.tar", "/d", ["a/*.tar", "b/*.tar"]), ("/d/set*/x.tar", "/d", ["set*/x.tar"]),
])
def test_split_pattern(path: str, folder: str, patterns: list[str]) -> None:
    assert split_pattern(path, ".tar") == (folder, patterns)


def test_config_is_told_apart_by_kind_and_strict() -> None:
    adapter: TypeAdapter[Source] = TypeAdapter(SourceConfig)
    source = adapter.validate_python({"kind": "folder", "path": "x", "include": ["**/*.png"]})
    assert isinstance(source, FolderSource) and source.include == ("**/*.png",)
    for wrong in ({"kind": "folder"}, {"kind": "zip", "path": "x"}, {"kind": "folder", "path": "x", "captions": 1}):
        with pytest.raises(ValidationError):
            adapter.validate_python(wrong)


def test_reading_in_a_fresh_process(tmp_path: Path) -> None:
    parquet_file(tmp_path / "a.parquet", [{"image": picture(i)} for i in range(5)], row_group_size=2)
    source = ParquetSource(path=f"{tmp_path}/a.parquet")
    source.scan()
    (tmp_path / "source.pickle").write_bytes(pickle.dumps(source))
    code = ("import pickle, sys; source = pickle.load(open(sys.argv[1], 'rb'));"
            "sys.stdout.buffer.write(source.read('a.parquet#3'))")
    command = [sys.executable, "-c", code, str(tmp_path / "source.pickle")]
    done = subprocess.run(command, capture_output=True, check=True)
    assert done.stdout == picture(3)
    assert (tmp_path / "source.pickle").stat().st_size < 2000
