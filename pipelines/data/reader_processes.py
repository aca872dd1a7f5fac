"""Reader processes: they read, decode and collate while the training's own process computes."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.reduction import ForkingPickler
from typing import Any, Final, Generic, Protocol, TypeVar

import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from curate.errors import CurateError, EngineError

Item = TypeVar("Item", covariant=True)
STOPS: Final = (signal.SIGINT, signal.SIGTERM)


class Numbered(Protocol[Item]):
    """A source of items that are functions of their number. For reader processes it is pickled."""

    def __call__(self, *, start_batch: int, every: int) -> Iterator[Item]:
        """Number `start_batch`, `start_batch` + `every`, and so on without end."""


class Readers(Generic[Item]):
    """Items of a source by number, which are read as one stream that begins at the first number asked for.

    With `processes` the items of that stream are made by so many of them in turn, each up to two ahead; their order is
    the same for any number. Each reads all that the source reads, and makes only its own items of it. 0: the caller's
    thread does it. An error of the source is raised here; EngineError: a process died, or cannot send what it made.
    """

    def __init__(self, source: Numbered[Item], *, processes: int) -> None:
        self._source, self._processes = source, processes
        self._running: Iterator[Item] | None = None
        self._expected = -1

    def item_at(self, number: int) -> Item:
        """The item of a number: at little cost, if the last one asked for was that of the number before."""
        if self._running is None or number != self._expected:
            self.close()
            self._running = self._begin(number)
        self._expected = number + 1
        return next(self._running)

    def close(self) -> None:
        """End the processes, if there are any."""
        self._running = None  # a DataLoader's iterator ends its processes when nobody holds it

    def _begin(self, number: int) -> Iterator[Item]:
        if self._processes == 0:
            return self._source(start_batch=number, every=1)
        # Not forked: threads of the trainer, of Ray and of CUDA may hold locks that a copy of them would wait for.
        # The generator is its own, since the step draws from the global one.
        loader: DataLoader[Any] = DataLoader(
            _Turns(self._source, number), batch_size=None, num_workers=self._processes, multiprocessing_context="spawn",
            worker_init_fn=_stand_apart, generator=torch.Generator())
        resource_tracker.ensure_running()  # here, since its start ends with a mask that lets signals through
        before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)  # the processes inherit it until they stand apart
        try:
            return _received(iter(loader))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


@dataclass(frozen=True)
class _Failed:
    error: Exception


class _Turns(IterableDataset[bytes]):
    """What one of the processes makes, pickled here: what fails later, in a queue's own thread, is lost unseen.
    DataLoader takes from each process in turn, so together they give the whole stream."""

    def __init__(self, source: Numbered[Any], start: int) -> None:
        self.source, self.start = source, start

    def __iter__(self) -> Iterator[bytes]:
        reader = get_worker_info()
        assert reader is not None
        try:
            for item in self.source(start_batch=self.start + reader.id, every=reader.num_workers):
                yield _pickled(item)
        except Exception as error:
            if not isinstance(error, CurateError):
                error.add_note(traceback.format_exc())
            yield _pickled(_Failed(error))


def _pickled(item: Any) -> bytes:
    """Tensors go to shared memory. EngineError where there is no room; and in place of an error that cannot travel."""
    try:
        return bytes(ForkingPickler.dumps(item))
    except Exception as error:
        if isinstance(item, _Failed):
            return _pickled(_Failed(EngineError(f"a reader process failed: {item.error!r}")))
        raise EngineError(f"a reader process cannot send its batch ({error}): shared memory (/dev/shm) may be full; "
                          "use fewer readers, 0 for none") from error


def _received(pickles: Iterator[bytes]) -> Iterator[Any]:
    while True:
        try:
            item = pickle.loads(next(pickles))
        except (RuntimeError, StopIteration) as error:
            raise EngineError(f"a reader process died ({error}): it may lack memory; use fewer readers, 0 for none"
                              ) from error
        if isinstance(item, _Failed):
            try:
                raise item.error
            finally:
                del item, pickles  # an error holds the frames that it went through, and so would hold the processes
        yield item


def _stand_apart(_: int) -> None:
    """Signals to the trainer's group are the trainer's to heed; but what becomes of it becomes of its readers."""
    os.setsid()
    for each in STOPS:
        signal.signal(each, signal.SIG_IGN)  # forgets one that came during the start
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
    threading.Thread(target=_end_with_the_trainer, daemon=True).start()


def _end_with_the_trainer() -> None:
    trainer = multiprocessing.parent_process()
    assert trainer is not None
    trainer.join()
    os._exit(1)
