"""Stopping: the first Ctrl-C lets finish what has begun (blocks in flight, a training's step), the second stops now.

Both can be resumed."""

from __future__ import annotations

import signal
import threading
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
        """Turn the first SIGINT or SIGTERM into a request and the second into KeyboardInterrupt. Signals go to the main
        thread: in another one nothing changes."""
        here = threading.current_thread() is threading.main_thread()
        numbers = (signal.SIGINT, signal.SIGTERM) if here else ()
        before = {number: signal.signal(number, self._handle) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.request()
