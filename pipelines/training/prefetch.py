"""Make batches in one background thread while the model trains: numpy and PIL release the interpreter where
it counts."""

import queue
import threading
from collections.abc import Callable, Generator
from typing import TypeVar

Batch = TypeVar("Batch")


def prefetch(batch_at: Callable[[int], Batch], start: int, stop: int, *, depth: int = 3) -> Generator[Batch]:
    """Yield batch_at(start), ..., batch_at(stop - 1), in order, made up to `depth` ahead. An error there is
    raised here."""
    ready: queue.Queue[tuple[Batch | None, BaseException | None]] = queue.Queue(maxsize=depth)
    closed = threading.Event()

    def work() -> None:
        for index in range(start, stop):
            try:
                item: tuple[Batch | None, BaseException | None] = (batch_at(index), None)
            except BaseException as error:  # handed to the consumer, which raises it
                item = (None, error)
            while not closed.is_set():
                try:
                    ready.put(item, timeout=0.2)
                    break
                except queue.Full:
                    continue
            if closed.is_set() or item[1] is not None:
                return

    thread = threading.Thread(target=work, daemon=True, name="prefetch")
    thread.start()
    try:
        for _ in range(start, stop):
            batch, error = ready.get()
            if error is not None:
                raise error
            yield batch  # type: ignore[misc]
    finally:
        closed.set()
        thread.join(timeout=30)
