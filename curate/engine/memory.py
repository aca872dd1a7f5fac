"""How much memory a worker has needed so far: what a pilot measures, and what packs several stages on one GPU."""

from __future__ import annotations

import resource
import sys


def peak_bytes(*, gpu: bool) -> int:
    """The most that this process has held: bytes that torch reserved on its GPU, else resident memory in all.

    The CUDA context (some hundred MB) is not torch's and comes on top. Peaks of a process never fall, so stages that
    share a worker are measured together, as they have to be placed.
    """
    torch = sys.modules.get("torch")
    if gpu and torch is not None and torch.cuda.is_available():
        return int(torch.cuda.max_memory_reserved())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak) if sys.platform == "darwin" else int(peak) << 10  # kilobytes on Linux, bytes on macOS
