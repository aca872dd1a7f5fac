"""The trainer's data: order as a function of seed and position, batches, dropout; on real shards."""

from __future__ import annotations

import functools
import http.server
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import torch
from PIL import Image

from curate.config import parse
from curate.errors import ConfigError, SourceError
from curate.images import encode
from curate.interfaces import ROLES
from curate.records import Work
from curate.seal import SealConfig, seal
from curate.store import RunStore
from curate.store.tars import build_tar
from pipelines.data import (
    Batch,
    DataConfig,
    DatasetConfig,
    DropoutConfig,
    Triplet,
    TripletStream,
    batches,
)
from pipelines.data.encoded import EncodedSample
from pipelines.data.order import BLOCK, Mixture, PassOrder
from tests.runs import make_units
from tests.s3_server import s3_server

SQUARE = (16, 16)


def picture(size: tuple[int, int], tone: int) -> Image.Image:
    """A ramp from left to right, so that where it was cut can be seen, with a tone of its own in blue."""
    width, height = size
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[..., 0] = np.linspace(0, 255, width, dtype=np.uint8)[None]
    pixels[..., 1] = np.linspace(0, 255, height, dtype=np.uint8)[:, None]
    pixels[..., 2] = tone
    return Image.fromarray(pixels)


def make_dataset(root: Path, n: int, *, run: str = "run", shard_samples: int = 5, side: str = "train",
                 size: Callable[[int], tuple[int, int]] = lambda i: SQUARE) -> Path:
    """A sealed folder of ``n`` samples of one split; ``size``: (width, height) of the images of sample i."""
    units = [replace(unit, side=side) for unit in make_units(n, run=run)]
    store = RunStore.create(root, {}, units, n)
    (block,) = store.blocks()
    images = {u.unit_id: {role: encode(picture(size(u.index), 10 * i + u.index)) for i, role in enumerate(ROLES)}
              for u in units}
    store.commit_candidates(Work(block=block, images=images, failures={}, seconds={}), provenance={})
    seal(store, config=SealConfig(format="png", shard_samples=shard_samples))
    return store.paths.shards


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """23 samples in 5 shards of 4 or 5."""
    return make_dataset(tmp_path_factory.mktemp("a"), 23)


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """7 samples in 3 shards."""
    return make_dataset(tmp_path_factory.mktemp("b"), 7, run="other", shard_samples=3)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 samples of four aspect ratios, some rare."""
    shapes = [(48, 48), (64, 32), (48, 36), (48, 48), (48, 48), (32, 64), (64, 32)]
    return make_dataset(tmp_path_factory.mktemp("mixed"), 20, shard_samples=4, size=lambda i: shapes[i % 7])


def config_of(*folders: Path | str, weights: Sequence[float] = (), **values: Any) -> DataConfig:
    shares = weights or [1.0] * len(folders)
    datasets = tuple(DatasetConfig(path=str(f), weight=w) for f, w in zip(folders, shares, strict=True))
    return DataConfig(datasets=datasets, **{"size_px": 16, "style_px": 16, "shuffle_buffer": 6, **values})


def identity(triplet: Triplet) -> tuple[str, str, int]:
    return triplet.key, triplet.dataset, triplet.position


def take(stream: TripletStream, n: int, start: int = 0) -> list[tuple[str, str, int]]:
    return [identity(triplet) for triplet in islice(stream.iterate(start), n)]


def same(a: Batch, b: Batch) -> bool:
    images = all(torch.equal(getattr(a, name), getattr(b, name)) for name in (
        "target", "content", "style", "drop_style", "drop_content", "drop_text"))
    return images and (a.keys, a.positions, a.captions) == (b.keys, b.positions, b.captions)


def test_a_sample_is_what_was_sealed(folder: Path) -> None:
    by_id = {u.unit_id: u for u in make_units(23)}
    for position, triplet in enumerate(islice(TripletStream(config_of(folder), seed=1).iterate(0), 23)):
        unit = by_id[triplet.key]
        assert (triplet.caption, triplet.layout, triplet.dataset) == (unit.caption, unit.layout, str(folder))
        assert triplet.position == position
        for i, role in enumerate(ROLES):
            image = getattr(triplet, role)
            assert image.mode == "RGB" and image.size == SQUARE and image.getpixel((3, 3))[2] == 10 * i + unit.index


@pytest.mark.parametrize("buffer", [1, 6, 1000])
@pytest.mark.parametrize(("sharding", "rank", "world"), [("samples", 0, 1), ("samples", 1, 3), ("shards", 1, 2)])
def test_resume_is_exact_at_every_position(folder: Path, buffer: int, sharding: str, rank: int, world: int) -> None:
    config = config_of(folder, shuffle_buffer=buffer, sharding=sharding)
    unbroken = take(TripletStream(config, seed=3, rank=rank, world=world), 54)
    for start in range(50):
        assert take(TripletStream(config, seed=3, rank=rank, world=world), 4, start) == unbroken[start:start + 4]


@pytest.mark.parametrize("sharding", ["samples", "shards"])
def test_resume_is_exact_over_several_datasets(folder: Path, second: Path, sharding: str) -> None:
    config = config_of(folder, second, weights=(1.0, 3.0), sharding=sharding)
    stream = TripletStream(config, seed=3, rank=1, world=2)
    unbroken = take(stream, 70)
    for start in range(66):
        assert take(stream, 4, start) == unbroken[start:start + 4]
    shares = Counter(dataset for _, dataset, _ in unbroken)
    assert 40 < shares[str(second)] < 65


def test_every_sample_once_per_epoch_in_another_order(folder: Path) -> None:
    stream = TripletStream(config_of(folder), seed=1)
    keys = [key for key, _, _ in take(stream, 69)]
    epochs = [keys[i:i + 23] for i in (0, 23, 46)]
    assert stream.epoch_length == 23
    assert all(set(epoch) == {u.unit_id for u in make_units(23)} for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert keys[:23] != [key for key, _, _ in take(TripletStream(config_of(folder), seed=2), 23)]


def test_each_dataset_has_epochs_of_its_own(folder: Path, second: Path) -> None:
    taken = take(TripletStream(config_of(folder, second), seed=1), 60)
    keys = [key for key, dataset, _ in taken if dataset == str(second)]
    assert len(keys) > 14
    assert all(len(set(keys[i:i + 7])) == 7 for i in (0, 7))


def test_two_readers_interleave_to_the_order_of_one(folder: Path, second: Path) -> None:
    config = config_of(folder, second, weights=(2.0, 1.0))
    one = take(TripletStream(config, seed=5), 60)
    for world in (2, 3, 7):
        for rank in range(world):
            assert take(TripletStream(config, seed=5, rank=rank, world=world), 8) == one[rank::world][:8]


def test_readers_with_shards_of_their_own_partition_the_set(folder: Path) -> None:
    config = config_of(folder, sharding="shards")
    streams = [TripletStream(config, seed=5, rank=rank, world=3) for rank in range(3)]
    first = [{key for key, _, _ in take(stream, 10)} for stream in streams]
    sizes = [len(keys) for keys in first]
    assert sum(sizes) == 23 and len(set.union(*first)) == 23
    assert {stream.epoch_length for stream in streams} == {max(sizes)}
    positions = {p for stream in streams for _, _, p in take(stream, 10)}
    assert positions == set(range(30))
    for stream, keys, size in zip(streams, first, sizes, strict=True):  # the smaller ones begin again, alone
        assert Counter(key for key, _, _ in take(stream, 4 * size)) == dict.fromkeys(keys, 4)


def test_too_many_readers_are_refused(folder: Path) -> None:
    config = config_of(folder, sharding="shards")
    TripletStream(config, seed=1, rank=4, world=5)
    with pytest.raises(ConfigError, match=r"sharding: .*5 shards for 6 readers .*at most 5 .*min_shards: 6"):
        TripletStream(config, seed=1, world=6)
    assert len(take(TripletStream(config_of(folder), seed=1, rank=8, world=9), 3)) == 3  # samples: no such bound


def test_shards_that_are_done_are_not_opened(folder: Path, tmp_path: Path) -> None:
    """Only dataset.json is needed for what lies before: the tars that are done may be gone."""
    config = config_of(folder, shuffle_buffer=2)
    last = take(TripletStream(config, seed=1), 3, 20)
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "dataset.json").write_bytes((folder / "dataset.json").read_bytes())
    needed = {sample.shard for _, sample in islice(TripletStream(config, seed=1).encoded(20), 3)}
    assert len(needed) == 1
    for url in needed:
        (copy / Path(url).name).write_bytes(Path(url).read_bytes())
    again = take(TripletStream(config_of(copy, shuffle_buffer=2), seed=1), 3, 20)
    assert [key for key, _, _ in again] == [key for key, _, _ in last]


def test_images_are_decoded_only_when_yielded(folder: Path, tmp_path: Path) -> None:
    """An image that cannot be decoded stops the reader that owns it, and no other."""
    copy = copy_of(folder, tmp_path)
    keys = [key for key, _, _ in take(TripletStream(config_of(folder), seed=1), 23)]
    shard = next(s.shard for _, s in islice(TripletStream(config_of(copy), seed=1).encoded(0), 23) if s.key == keys[4])
    data = bytearray(Path(shard).read_bytes())
    at = data.index(f"{keys[4]}.style.png".encode()) + 512
    data[at:at + 8] = b"no image"
    Path(shard).write_bytes(data)
    assert len(take(TripletStream(config_of(copy), seed=1, rank=1, world=2), 11)) == 11
    with pytest.raises(SourceError, match=rf"{Path(shard).name}: sample {keys[4]}: style: not an image"):
        take(TripletStream(config_of(copy), seed=1, rank=0, world=2), 11)
    assert len(take(TripletStream(config_of(copy), seed=1), 18, 5)) == 18


def test_shuffling_reaches_as_far_as_the_buffer() -> None:
    order = PassOrder([50, 50], buffer=10, seed=1)
    assert sorted(order.order) == list(range(100)) and list(order.order) != list(range(100))
    ahead = order.order - np.arange(100)
    assert 1 < ahead.max() <= 9
    assert list(PassOrder([50, 50], buffer=1, seed=1).order) == list(range(100))
    places = [PassOrder([3, 2], buffer=4, seed=s).place(p) for s in (1,) for p in range(5)]
    assert sorted(places) == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
    assert len({tuple(PassOrder([1] * 5, buffer=1, seed=s).shards) for s in range(20)}) > 10


def test_mixture_counts_what_it_chose() -> None:
    mixture = Mixture([1.0, 3.0, 4.0], seed=7)
    chosen = list(islice(mixture.choices(0), 2 * BLOCK + 10))
    for start in (0, 1, 17, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 5):
        assert mixture.counts(start) == [chosen[:start].count(i) for i in range(3)]
        assert list(islice(mixture.choices(start), 5)) == chosen[start:start + 5]
    assert [chosen.count(i) / len(chosen) for i in range(3)] == pytest.approx([1 / 8, 3 / 8, 1 / 2], abs=0.02)


# --- what can be wrong with a dataset


def copy_of(folder: Path, root: Path) -> Path:
    copy = root / "copy"
    copy.mkdir()
    for file in folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    return copy


def test_a_folder_that_is_no_dataset(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"empty/dataset\.json: cannot be read: No such file.*a sealed dataset is"):
        TripletStream(config_of(tmp_path / "empty"), seed=1)
    with pytest.raises(SourceError, match=f"did you mean {folder}"):
        TripletStream(config_of(folder.parent), seed=1)
    said = json.loads((folder / "dataset.json").read_text())
    for key, value, message in (("format", 9, "has format 9, this version reads 1"),
                                ("members", ["style.png", "txt"], "samples have no content member, only style.png"),
                                ("shards", [{"name": "../x.tar", "split": "train", "samples": 1}], "not the list of"),
                                ("shards", [{"name": "x.tar", "split": "train", "samples": 0}], "not the list of"),
                                ("shards", [{}], "not the list of")):
        (tmp_path / "dataset.json").write_text(json.dumps({**said, key: value}))
        with pytest.raises(SourceError, match=rf"dataset\.json: {message}"):
            TripletStream(config_of(tmp_path), seed=1)
    (tmp_path / "dataset.json").write_text("{")
    with pytest.raises(SourceError, match=r"dataset\.json: not valid JSON"):
        TripletStream(config_of(tmp_path), seed=1)


def test_splits(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"dataset\.json: split: no samples in split 'val' \(it has: train\)"):
        TripletStream(config_of(folder, split="val"), seed=1)
    val = make_dataset(tmp_path, 3, side="val")
    assert len({key for key, _, _ in take(TripletStream(config_of(val, split="val"), seed=1), 3)}) == 3
    with pytest.raises(ConfigError, match="split: Input should be 'train' or 'val'"):
        parse(DataConfig, {"datasets": [{"path": str(folder)}], "size_px": 16, "split": "test"})


def test_config_is_strict() -> None:
    good: dict[str, Any] = {"datasets": [{"path": "x"}], "size_px": 64}
    assert parse(DataConfig, good).dropout == DropoutConfig(style=0.25, content=0.25, text=0.1)
    bad: list[dict[str, Any]] = [{"size_px": 60}, {"datasets": []}, {"datasets": [{"path": "x", "weight": 0.0}]},
                                 {"dropout": {"style": 1.5}}, {"shuffle_buffer": 0}, {"content_size_px": 8}]
    for change in bad:
        with pytest.raises(ConfigError):
            parse(DataConfig, {**good, **change})


def read_all(folder: Path) -> list[tuple[str, str, int]]:
    return take(TripletStream(config_of(folder), seed=1), 24)  # one more than an epoch: every shard to its end


def test_truncated_shards_are_named(folder: Path, tmp_path: Path) -> None:
    copy = copy_of(folder, tmp_path)
    path = copy / "train-000002.tar"
    whole = path.read_bytes()
    read_all(copy)
    starts = [i for i in range(0, len(whole), 512) if whole[i + 257:i + 262] == b"ustar"]
    assert len(starts) in (20, 25)
    # at a sample's border, between the members of a sample, within a header, within an image, nearly at once, empty
    for cut, message in ((starts[5], "has 1 samples where"), (starts[7], r"no \.stylized\.png member"),
                         (starts[5] + 100, "not a whole tar|has 1 samples"), (starts[5] + 530, "not a whole tar"),
                         (100, "not a whole tar"), (0, "not a whole tar")):
        path.write_bytes(whole[:cut])
        with pytest.raises(SourceError, match=rf"copy/train-000002\.tar: .*({message})"):
            read_all(copy)
    damaged = bytearray(whole)
    damaged[starts[10]:starts[10] + 512] = b"x" * 512  # tarfile takes this for the end
    path.write_bytes(damaged)
    with pytest.raises(SourceError, match=r"train-000002\.tar: "):
        read_all(copy)
    path.unlink()
    with pytest.raises(SourceError, match=r"train-000002\.tar: cannot be read: No such file"):
        read_all(copy)


@pytest.mark.parametrize(("member", "name", "data", "message"), [
    ("txt", "note", None, r"no \.txt member"),
    ("json", "json", b"{}", r"json: no layout in it"),
    ("json", "json", b'{"layout": "turned"}', r"json: unknown layout 'turned'"),
    ("txt", "txt", b"\xff", r"txt: .*decode"),
])
def test_samples_that_cannot_be_used_are_named(folder: Path, tmp_path: Path, member: str, name: str,
                                               data: bytes | None, message: str) -> None:
    copy = copy_of(folder, tmp_path)
    url = str(folder / "train-000001.tar")
    samples = [s for _, s in islice(TripletStream(config_of(folder), seed=1).encoded(0), 23) if s.shard == url]
    suffix = {"txt": "txt", "json": "json"} | {role: f"{role}.png" for role in ROLES}
    members = []
    for i, sample in enumerate(samples):
        for part, raw in sample.members.items():
            changed = i == 1 and part == member
            members.append((f"{sample.key}.{name if changed else suffix[part]}", data if changed and data else raw))
    (copy / "train-000001.tar").write_bytes(build_tar(members)[0])
    with pytest.raises(SourceError, match=rf"copy/train-000001\.tar: sample {samples[1].key}: {message}"):
        read_all(copy)


# --- other places than a disk


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server(folder: Path) -> Iterator[str]:
    handler = functools.partial(Quiet, directory=str(folder.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()
        thread.join()


def test_reading_over_http(folder: Path, server: str) -> None:
    remote = take(TripletStream(config_of(f"{server}/shards/"), seed=1), 30, 7)
    local = take(TripletStream(config_of(folder), seed=1), 30, 7)
    assert [(key, at) for key, _, at in remote] == [(key, at) for key, _, at in local]
    with pytest.raises(SourceError, match=r"nowhere/dataset\.json: cannot be read: curl ended with status 22"):
        TripletStream(config_of(f"{server}/nowhere"), seed=1)


def test_a_shard_that_vanished_from_the_server(folder: Path, tmp_path: Path) -> None:
    copy = copy_of(folder, tmp_path)
    (copy / "train-000003.tar").unlink()
    handler = functools.partial(Quiet, directory=str(copy))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        with pytest.raises(SourceError, match=r"train-000003\.tar: cannot be read: curl ended with status 22"):
            take(TripletStream(config_of(f"http://127.0.0.1:{httpd.server_port}"), seed=1), 24)
        httpd.shutdown()
        thread.join()


def test_reading_through_fsspec(folder: Path) -> None:
    """Places that webdataset's opener has no handler for; s3:// below."""
    memory = fsspec.filesystem("memory")
    memory.put(str(folder), "/bucket/set", recursive=True)
    try:
        remote = take(TripletStream(config_of("memory://bucket/set"), seed=1), 30, 7)
        local = take(TripletStream(config_of(folder), seed=1), 30, 7)
        assert [(key, at) for key, _, at in remote] == [(key, at) for key, _, at in local]
    finally:
        memory.rm("/bucket", recursive=True)
    with pytest.raises(SourceError, match=r"nosuch://x/dataset\.json: cannot be read: .*nosuch"):
        TripletStream(config_of("nosuch://x"), seed=1)


def test_reading_from_a_bucket(folder: Path) -> None:
    with s3_server() as bucket:
        fsspec.filesystem("s3").put(str(folder), f"{bucket}/set", recursive=True)
        remote = take(TripletStream(config_of(f"{bucket}/set"), seed=1), 30, 7)
        with pytest.raises(SourceError, match=r"nowhere/dataset\.json: cannot be read"):
            TripletStream(config_of(f"{bucket}/nowhere"), seed=1)
        fsspec.filesystem("s3").rm(f"{bucket}/set/train-000003.tar")
        with pytest.raises(SourceError, match=r"train-000003\.tar: cannot be read"):
            take(TripletStream(config_of(f"{bucket}/set"), seed=1), 24)
    local = take(TripletStream(config_of(folder), seed=1), 30, 7)
    assert [(key, at) for key, _, at in remote] == [(key, at) for key, _, at in local]


def test_no_path_runs_a_command(tmp_path: Path) -> None:
    for path in (f"pipe:touch {tmp_path}/ran #", f"pipe://bin/touch {tmp_path}/ran #"):
        with pytest.raises(SourceError):
            TripletStream(config_of(path), seed=1)
    assert list(tmp_path.iterdir()) == []


# --- batches


def test_batch_k_is_samples_kb_to_kb_plus_b(folder: Path) -> None:
    config = config_of(folder)
    stream = TripletStream(config, seed=1)
    one = take(stream, 40)
    unbroken = list(islice(batches(stream, config, batch_size=4, seed=9), 10))
    by_id = {u.unit_id: u for u in make_units(23)}
    for k, batch in enumerate(unbroken):
        assert list(zip(batch.keys, batch.positions, strict=True)) == [(key, at) for key, _, at in one[4 * k:4 * k + 4]]
        assert batch.target.shape == batch.content.shape == batch.style.shape == (4, 3, 16, 16)
        assert batch.captions == [by_id[key].caption for key in batch.keys]
        for i, role in enumerate(("content", "style", "target")):
            tones = (getattr(batch, role)[:, 2, 3, 3] + 1) * 127.5
            assert tones.tolist() == pytest.approx([10 * i + by_id[key].index for key in batch.keys], abs=0.01)
        assert same(batch, next(batches(stream, config, batch_size=4, start_batch=k, seed=9)))


def test_two_workers_see_the_global_batches_of_one(folder: Path) -> None:
    config = config_of(folder, crop="random")
    whole = list(islice(batches(TripletStream(config, seed=1), config, batch_size=4, seed=9), 9))
    halves = [list(islice(batches(TripletStream(config, seed=1, rank=rank, world=2), config, batch_size=2, seed=9), 9))
              for rank in range(2)]
    for k, batch in enumerate(whole):
        for rank in range(2):
            half = halves[rank][k]
            assert half.keys == batch.keys[rank::2] and torch.equal(half.target, batch.target[rank::2])
            assert torch.equal(half.drop_style, batch.drop_style[rank::2])


def test_dropout_rates_and_their_independence(folder: Path) -> None:
    config = config_of(folder, dropout=DropoutConfig(style=0.25, content=0.4, text=0.1))
    got = list(islice(batches(TripletStream(config, seed=1), config, batch_size=50, seed=9), 40))
    style, content, text = (torch.cat([getattr(b, f"drop_{what}") for b in got]).float()
                            for what in ("style", "content", "text"))
    assert style.shape == (2000,) and got[0].drop_style.dtype == torch.bool
    assert style.mean().item() == pytest.approx(0.25, abs=0.04)
    assert content.mean().item() == pytest.approx(0.4, abs=0.045)
    assert text.mean().item() == pytest.approx(0.1, abs=0.03)
    assert (style * content).mean().item() == pytest.approx(0.1, abs=0.03)
    assert abs(torch.corrcoef(torch.stack([style, content, text])).triu(1)).max().item() < 0.1


def test_dropout_depends_on_position_only(folder: Path, second: Path) -> None:
    def drops(path: Path, batch_size: int, seed: int, **values: Any) -> dict[int, tuple[bool, bool, bool]]:
        config = config_of(path, **values)
        got = islice(batches(TripletStream(config, seed=2), config, batch_size=batch_size, seed=seed), 60 // batch_size)
        return {p: (bool(b.drop_style[i]), bool(b.drop_content[i]), bool(b.drop_text[i]))
                for b in got for i, p in enumerate(b.positions)}

    first = drops(folder, 4, 1)
    assert first == drops(second, 5, 1, crop="random", shuffle_buffer=1) and len(first) == 60
    assert first != drops(folder, 4, 2)
    none = drops(folder, 4, 1, dropout=DropoutConfig(style=0.0, content=1.0, text=0.0))
    assert set(none.values()) == {(False, True, False)}


@pytest.mark.parametrize("content_size_px", [None, 32])
@pytest.mark.parametrize(("world", "sharding"), [(1, "samples"), (2, "samples"), (2, "shards")])
def test_buckets_resume_exactly(mixed: Path, content_size_px: int | None, world: int, sharding: str) -> None:
    config = config_of(mixed, size_px=64, buckets=True, content_size_px=content_size_px, sharding=sharding)
    stream = TripletStream(config, seed=1, rank=world - 1, world=world)
    unbroken = list(islice(batches(stream, config, batch_size=3, seed=9), 24))
    assert len({batch.target.shape for batch in unbroken}) == 4
    for k, batch in enumerate(unbroken):
        assert same(batch, next(batches(stream, config, batch_size=3, start_batch=k, seed=9)))
    positions = [p for batch in unbroken for p in batch.positions]
    assert len(set(positions)) == len(positions)  # no sample twice at one position


def test_buckets_leave_nothing_out(mixed: Path) -> None:
    config = config_of(mixed, size_px=64, buckets=True)
    counts: Counter[str] = Counter()
    for batch in islice(batches(TripletStream(config, seed=1), config, batch_size=3, seed=9), 200):  # 30 epochs
        counts.update(batch.keys)
    assert len(counts) == 20 and min(counts.values()) >= 29 and max(counts.values()) <= 31


def test_buckets_are_the_same_batches_for_any_number_of_workers(mixed: Path) -> None:
    config = config_of(mixed, size_px=64, buckets=True)
    whole = list(islice(batches(TripletStream(config, seed=1), config, batch_size=4, seed=9), 12))
    for rank in range(2):
        stream = TripletStream(config, seed=1, rank=rank, world=2)
        for k, batch in enumerate(islice(batches(stream, config, batch_size=2, seed=9), 12)):
            assert batch.keys == whole[k].keys[rank::2] and torch.equal(batch.target, whole[k].target[rank::2])


def test_size_from_the_header_only() -> None:
    whole = encode(picture((40, 24), 1))
    sample = EncodedSample("k", "s.tar", {"style": whole[:60], "content": b"no"})
    assert sample.size("style") == (40, 24)
    with pytest.raises(SourceError, match=r"s\.tar: sample k: content: not an image"):
        sample.size("content")
