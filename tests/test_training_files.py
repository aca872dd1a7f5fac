"""What a training leaves on the disk while it runs, and what is made of it after a crash, a full disk or damage."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.tensorboard import SummaryWriter

from curate.errors import StoreError
from curate.train.watching import Onlooker
from pipelines.training import MetricsLog, TrainState, load_checkpoint, save_checkpoint
from pipelines.training.checkpoint import step_of
from tests.test_training import fresh, train


def test_a_line_of_the_log_that_a_full_disk_cut_is_left_out(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "m.jsonl")
    log.write(step=1, loss=0.5)
    with log.path.open("a") as file:
        file.write('{"step": 2, "lo{"step": 2, "loss": 0.4}\n')
    log.write(step=3, loss=0.3)
    assert [line["step"] for line in log.read()] == [1, 3]


@pytest.mark.parametrize("full", [OSError(errno.ENOSPC, "No space left on device"),
                                  RuntimeError("[enforce fail at inline_container.cc:671] . unexpected pos 64 vs 0")])
def test_a_crash_while_saving_leaves_the_former_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: Exception
) -> None:
    state = fresh()
    save_checkpoint(state, tmp_path / "c.pt")

    def torn(value: object, file: object) -> None:
        file.write(b"half")  # type: ignore[attr-defined]
        raise full

    monkeypatch.setattr(torch, "save", torn)
    state.step = 7
    with pytest.raises(StoreError, match=r"c\.pt: cannot be written: .*[Ff]ree some space"):
        save_checkpoint(state, tmp_path / "c.pt")
    assert [file.name for file in tmp_path.iterdir()] == ["c.pt"], "the half file fills the disk for good"
    assert load_checkpoint(state, tmp_path / "c.pt")
    assert state.step == 0


def test_what_a_killed_process_left_unfinished_is_cleared_away(tmp_path: Path) -> None:
    for name in (".c.pt.0a1b.77.tmp", ".c-best.pt.0a1b.77.tmp"):
        (tmp_path / name).write_bytes(b"half")
    (tmp_path / ".other.pt.0a1b.77.tmp").write_bytes(b"another's")
    train(fresh(), tmp_path)
    assert sorted(file.name for file in tmp_path.glob(".*")) == [".other.pt.0a1b.77.tmp"]


@pytest.mark.parametrize("error", [RuntimeError("CUDA out of memory"), OSError(errno.EIO, "Input/output error")])
def test_what_is_no_damage_is_not_called_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Who reads "damaged, remove it" of a whole file loses days of work."""
    def fails(*_: object, **__: object) -> None:
        raise error

    path = tmp_path / "c.pt"
    save_checkpoint(fresh(), path)
    monkeypatch.setattr(torch, "load", fails)
    with pytest.raises((RuntimeError, StoreError), match=r"^CUDA out of memory$|cannot be read: .*Input/output error$"):
        load_checkpoint(fresh(), path)
    monkeypatch.setattr(torch, "save", fails)
    with pytest.raises((RuntimeError, StoreError), match=r"^CUDA out of memory$|cannot be written: Input/output e"):
        save_checkpoint(fresh(), path)


def test_a_full_disk_is_one_error_with_tensorboard_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(StoreError, match=r"tensorboard: cannot be written: .*free some space"), \
            Onlooker(tmp_path, 4) as onlooker:
        onlooker.begun(0)
        monkeypatch.setattr(SummaryWriter, "add_scalar", full)
        monkeypatch.setattr(SummaryWriter, "close", full)
        onlooker.logged(1, {"loss": 0.5})


@pytest.mark.parametrize("spoil", [lambda _: b"", lambda _: b"no checkpoint", lambda data: data[: len(data) // 2]])
def test_a_damaged_checkpoint_says_how_to_go_on(tmp_path: Path, spoil: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "c.pt"
    save_checkpoint(fresh(), path)
    path.write_bytes(spoil(path.read_bytes()))
    for read in (lambda: load_checkpoint(fresh(), path), lambda: step_of(path)):
        with pytest.raises(StoreError, match=r"c\.pt: damaged: .*`ln -f c-best\.pt c\.pt`.* or remove it"):
            read()


def test_the_step_of_a_checkpoint_is_known_without_a_model(tmp_path: Path) -> None:
    state = fresh()
    state.step = 7
    save_checkpoint(state, tmp_path / "c.pt")
    assert step_of(tmp_path / "c.pt") == 7 and step_of(tmp_path / "none.pt") == 0


def test_no_checkpoint_means_a_fresh_start_and_a_foreign_one_is_refused(tmp_path: Path) -> None:
    assert not load_checkpoint(fresh(), tmp_path / "none.pt")
    model = nn.Linear(2, 2)
    save_checkpoint(TrainState(model, torch.optim.SGD(model.parameters(), lr=1.0)), tmp_path / "other.pt")
    with pytest.raises(RuntimeError, match="state_dict"):
        load_checkpoint(fresh(), tmp_path / "other.pt")
