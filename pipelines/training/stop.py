"""SIGTERM and SIGINT as a polite request: the loop finishes its step, writes a checkpoint and returns."""

import signal
import threading
from types import FrameType
from typing import Self


class StopRequest:
    """Context manager; `requested` turns true on the first signal. Outside the main thread it never does
    (signals go there)."""

    def __init__(self) -> None:
        self.requested = False
        self._former: dict[signal.Signals, object] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for which in (signal.SIGTERM, signal.SIGINT):
                self._former[which] = signal.signal(which, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for which, handler in self._former.items():
            signal.signal(which, handler)  # type: ignore[arg-type]

    def _note(self, _signal: int, _frame: FrameType | None) -> None:
        self.requested = True
