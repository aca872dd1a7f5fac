"""Reader processes: the same batches in the same order by any number of them, errors, and an end."""

from __future__ import annotations

import multiprocessing
from functools import partial
from pathlib import Path

import pytest
import torch

from curate.errors import EngineError, SourceError
from curate.train.loading import load_uso
from pipelines.data import Readers, TripletStream, batches
from pipelines.data.reader_processes import Numbered
from pipelines.training import MetricsLog
from tests.numbered_sources import (
    numbers_then_an_error_of_its_own,
    numbers_then_what_cannot_travel,
    numbers_until_a_crash,
)
from tests.test_train_data import config_of, make_dataset, same
from tests.train_parts import make_parts, run, write


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_parts(tmp_path_factory.mktemp("parts"))


def test_processes_give_the_batches_that_the_thread_gives(tmp_path: Path) -> None:
    shapes = [(48, 48), (64, 32), (48, 36), (48, 48), (48, 48), (32, 64), (64, 32)]
    config = config_of(make_dataset(tmp_path, 20, shard_samples=4, size=lambda i: shapes[i % 7]), buckets=True)
    source = partial(batches, TripletStream(config, seed=1), config, batch_size=2, seed=9)
    alone, two = Readers(source, processes=0), Readers(source, processes=2)
    try:
        for number in (3, 4, 5, 6, 7, 1, 2):  # a stream from 3 on, then another
            assert same(alone.item_at(number), two.item_at(number)), number
        assert len(multiprocessing.active_children()) == 2  # those of the first stream have ended
    finally:
        two.close()
    assert multiprocessing.active_children() == []


def test_an_error_of_the_source_is_raised_here(tmp_path: Path) -> None:
    folder = make_dataset(tmp_path, 6)
    config = config_of(folder)
    readers = Readers(partial(batches, TripletStream(config, seed=1), config, batch_size=2, seed=9), processes=1)
    for shard in folder.glob("*.tar"):
        shard.write_bytes(shard.read_bytes()[:700])
    with pytest.raises(SourceError, match=r"\.tar"):
        readers.item_at(0)
    readers.close()
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize(("source", "error", "said"), [
    (numbers_then_what_cannot_travel, EngineError, "cannot send its batch"),
    (numbers_then_an_error_of_its_own, KeyError, "absent"),
])
def test_nothing_is_lost_before_what_fails(source: Numbered[object], error: type[Exception], said: str) -> None:
    readers = Readers(source, processes=2)
    assert [readers.item_at(number) for number in range(3)] == [0, 1, 2]
    with pytest.raises(error, match=said) as caught:
        readers.item_at(3)
    readers.close()
    if error is KeyError:
        assert "numbers_then_an_error_of_its_own" in "".join(caught.value.__notes__)


def test_a_process_that_dies_is_told() -> None:
    readers = Readers(numbers_until_a_crash, processes=1)
    with pytest.raises(EngineError, match=r"a reader process died.*fewer readers"):
        for number in range(9):
            readers.item_at(number)
    readers.close()


@pytest.mark.parametrize("cached", [False, True])
def test_a_training_is_the_same_whoever_reads(parts: Path, tmp_path: Path, cached: bool) -> None:
    """Begun by the thread and gone on with by a process."""
    common = {"reward": {"start_step": 1, "num_steps": 2, "batch": 2}, "reward_model": str(parts / "csd"),
              "samples": {"count": 0}, **({"cache": str(tmp_path / "cache")} if cached else {})}
    alone, halves = write(parts, tmp_path / "alone", **common), write(parts, tmp_path / "halves", **common)
    assert run(alone)[0] == run(halves, "--set", "steps=2")[0] == 0
    code, said = run(halves, "--set", "readers=1")
    assert code == 0, said
    assert multiprocessing.active_children() == []
    one, other = (load_uso(str(tmp_path / name / "model")).transformer.state_dict() for name in ("alone", "halves"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    logs = [MetricsLog(tmp_path / name / "metrics.jsonl").read() for name in ("alone", "halves")]
    flows, rewards = ([[line[key] for line in log if key in line] for log in logs] for key in ("flow", "reward_loss"))
    assert flows[0] == flows[1] and rewards[0] == rewards[1] and len(rewards[0]) == 3
