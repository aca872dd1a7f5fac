"""Reader processes: they read, decode and collate while the training's own process computes."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from curate.errors import EngineError

Item = TypeVar("Item", covariant=True)


class Numbered(Protocol[Item]):
    """A source of items that are functions of their number. For reader processes it is pickled."""

    def __call__(self, *, start_batch: int, every: int) -> Iterator[Item]:
        """Number `start_batch`, `start_batch` + `every`, and so on without end."""


class Readers(Generic[Item]):
    """Items of a source by number, which are read as one stream that begins at the first number asked for.

    With `processes` the items of that stream are made by so many of them in turn, each up to two ahead; their order is
    the same for any number. Each reads all that the source reads, and makes only its own items of it. 0: the caller's
    thread does it. An error of the source is raised here as it was there; EngineError: a process died.
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
        # not forked: threads of the trainer, of Ray and of CUDA may hold locks that a copy of them would wait for
        # the generator is its own, since the step draws from the global one
        loader: DataLoader[Any] = DataLoader(
            _Turns(self._source, number), batch_size=None, num_workers=self._processes, multiprocessing_context="spawn",
            worker_init_fn=_leave_signals, generator=torch.Generator())
        return _received(iter(loader))


@dataclass(frozen=True)
class _Failed:
    error: Exception


class _Turns(IterableDataset[Any]):
    """What one of the processes makes. DataLoader takes from each in turn, so together they give the whole stream."""

    def __init__(self, source: Numbered[Any], start: int) -> None:
        self.source, self.start = source, start

    def __iter__(self) -> Iterator[Any]:
        reader = get_worker_info()
        assert reader is not None
        try:
            yield from self.source(start_batch=self.start + reader.id, every=reader.num_workers)
        except Exception as error:
            yield _Failed(error)


def _received(items: Iterator[Any]) -> Iterator[Any]:
    while True:
        try:
            item = next(items)
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise EngineError(f"a reader process died ({error}): it may lack memory, or shared memory (/dev/shm); "
                              "use fewer readers, 0 for none") from error
        if isinstance(item, _Failed):
            raise item.error
        yield item


def _leave_signals(_: int) -> None:
    """Ctrl-C reaches all processes of a terminal; what becomes of the readers is the trainer's to say."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
