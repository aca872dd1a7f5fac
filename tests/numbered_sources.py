"""Sources of numbers for reader processes, which import this file to make them: it imports next to nothing."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator


def numbers_until_a_crash(*, start_batch: int, every: int) -> Iterator[int]:
    yield from range(start_batch, 3, every)
    os._exit(9)


def numbers_then_what_cannot_travel(*, start_batch: int, every: int) -> Iterator[object]:
    yield from range(start_batch, 3, every)
    yield threading.Lock()


def numbers_then_an_error_of_its_own(*, start_batch: int, every: int) -> Iterator[int]:
    yield from range(start_batch, 3, every)
    raise KeyError("absent")
