"""Stopping: the first Ctrl-C lets the blocks in flight finish, the second stops now. Both can be resumed."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopFlag:
    """Asked for by ``request`` or, inside ``on_signals``, by SIGINT or SIGTERM."""

    def __init__(self) -> None:
        self.requested = False

    def request(self) -> None:
        """Finish what has begun, commit it, return."""
        self.requested = True

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Turn the first SIGINT or SIGTERM into a request and the second into KeyboardInterrupt. Main thread only."""
        before = {number: signal.signal(number, self._handle) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.request()
