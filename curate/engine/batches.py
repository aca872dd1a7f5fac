"""Model calls whose result for a unit does not depend on its batch mates.

Batch size and a unit's place in the batch change floats in their last bits; what the mates contain does not. So a call
always has one slot for each unit of the block: empty slots (failed units, units made earlier, units that run alone in
isolation) repeat a live request, and a result counts only in its own slot. One batch that raises is repeated for each
unit alone in the same shape. A model that groups or reorders its batch by content breaks this promise.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from curate.errors import CurateError, ModelError, UnitError

Request = TypeVar("Request")
Result = TypeVar("Result")
REASON_CHARS = 300
"""Of an error message in the ledger: a CUDA error alone can be 2,000."""


class Refusal(NamedTuple):
    """Why there is no result in this slot."""

    reason: str


class Batch(Generic[Request, Result]):
    """A model's callable with slots. One instance a worker: it remembers the size that fits into memory."""

    def __init__(self, call: Callable[[Sequence[Request]], Sequence[Result]]) -> None:
        self._call = call
        self.fits: int | None = None
        """Requests that fit at once, found by halving after out-of-memory errors. Halving costs equal bytes: give the
        stage a smaller block instead when they matter."""

    def run(self, slots: Sequence[Request | None]) -> list[Result | Refusal | None]:
        """A result or refusal for each slot that is not None."""
        results: list[Result | Refusal | None] = [None] * len(slots)
        start = 0
        while start < len(slots):
            chunk = slots[start:start + (self.fits or len(slots))]
            reason = ""
            try:
                results[start:start + len(chunk)] = self._run_chunk(chunk)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                reason = explain(error)
            if reason:
                _free_memory()  # only here: until its handler ends, the error holds the failed call's tensors
                if len(chunk) > 1:
                    self.fits = (len(chunk) + 1) // 2
                    continue
                results[start] = Refusal(reason)
            start += len(chunk)
        return results

    def _run_chunk(self, chunk: Sequence[Request | None]) -> list[Result | Refusal | None]:
        filler = next((request for request in chunk if request is not None), None)
        if filler is None:
            return [None] * len(chunk)
        try:
            made = self._checked([filler if request is None else request for request in chunk])
        except (Exception, SystemExit) as error:
            if not is_about_a_unit(error):
                raise
            return [None if request is None else self._alone(request, i, len(chunk))
                    for i, request in enumerate(chunk)]
        return [None if request is None else result for request, result in zip(chunk, made, strict=True)]

    def _alone(self, request: Request, place: int, size: int) -> Result | Refusal:
        try:
            return self._checked([request] * size)[place]
        except (Exception, SystemExit) as error:
            if not is_about_a_unit(error):
                raise
            return Refusal(explain(error))

    def _checked(self, requests: list[Request]) -> Sequence[Result]:
        results = self._call(requests)
        if len(results) != len(requests):
            raise ModelError(f"gave {len(results)} results for {len(requests)} requests")
        return results


def is_about_a_unit(error: BaseException) -> bool:
    """Whether to record the error at a unit: not if the model itself is broken, nor while a smaller batch may do."""
    return isinstance(error, UnitError) or not (isinstance(error, CurateError) or is_out_of_memory(error))


def is_out_of_memory(error: BaseException) -> bool:
    """Python's MemoryError, torch.OutOfMemoryError, and torch's RuntimeError of its CPU allocator."""
    return (isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
            or (isinstance(error, RuntimeError) and "not enough memory" in str(error)))


def explain(error: BaseException) -> str:
    """One line for the ledger: our own errors by message, others with their type."""
    name = type(error).__name__
    text = str(error) if isinstance(error, UnitError) else f"{name}: {error}" if str(error) else name
    return " ".join(text.split())[:REASON_CHARS]


def _free_memory() -> None:
    torch = sys.modules.get("torch")
    gc.collect()
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
