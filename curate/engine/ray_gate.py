"""``Gate``: a small Ray actor that every worker asks before it begins a block. It bounds what Ray does not.

* Stopping: after ``stop`` no new block begins; blocks with images not yet committed go on to their commit.
* Blocks that kill workers: a block may enter a pool ``block_attempts`` times, then it is handed back unfinished.
* Workers that die while loading: three times in one worker and the gate closes for good.

So Ray itself may restart workers and retry blocks without limit, which it must: a fixed pool that has lost a worker for
good waits for ever (github.com/ray-project/ray/issues/62746; seen with 2.60 and ``max_restarts=0``). A question costs
one round trip, about 1 ms.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import NamedTuple

LOADING_ATTEMPTS = 3


class GateStatus(NamedTuple):
    """What the driver wants to know."""

    in_flight: int
    """Blocks that have begun and not come to an end."""
    done: int
    """Blocks that went through the last pool."""
    deaths: int
    """Workers that came back as new processes."""
    first_entry: float | None
    """``time.time()`` when the first block began."""
    fatal: str
    """Why nothing can go on, or "" ."""


class Gate:
    """State of one pass. Plain Python: Ray turns it into an actor."""

    def __init__(self, block_attempts: int) -> None:
        self._block_attempts = block_attempts
        self._stopping = False
        self._attempts: Counter[tuple[int, str]] = Counter()
        self._in_flight: set[str] = set()
        self._loading: Counter[str] = Counter()
        self._workers: set[str] = set()
        self._done = self._deaths = 0
        self._first_entry: float | None = None
        self._fatal = ""

    def begin_loading(self, worker: str, pool: str) -> bool:
        """A worker process is new and would load its models. False: do not, everything stops."""
        self._deaths += worker in self._workers
        self._workers.add(worker)
        self._loading[worker] += 1
        if self._loading[worker] > LOADING_ATTEMPTS:
            self._fatal = f"stage {pool}: its worker died {LOADING_ATTEMPTS} times while loading models"
            self._stopping = True
        return not self._stopping

    def end_loading(self, worker: str) -> None:
        """The models are loaded."""
        self._loading[worker] = 0

    def enter(self, pool: int, block_id: str, *, paid: bool) -> str:
        """``go``, ``stop`` (the run is ending) or ``suspect`` (it killed too many workers here).

        ``paid``: the block holds images that an expert made and that are not committed.
        """
        if self._stopping and not paid:
            return "stop"
        if self._attempts[pool, block_id] >= self._block_attempts:
            return "suspect"
        self._attempts[pool, block_id] += 1
        self._in_flight.add(block_id)
        self._first_entry = self._first_entry or time.time()
        return "go"

    def leave(self, block_id: str, *, done: bool) -> None:
        """The block has come to an end, finished or handed back."""
        self._in_flight.discard(block_id)
        self._done += done

    def stop(self) -> None:
        """Let no new block begin."""
        self._stopping = True

    def status(self) -> GateStatus:
        """Now."""
        return GateStatus(len(self._in_flight), self._done, self._deaths, self._first_entry, self._fatal)
