"""Equal floats need equal thread counts: every stage computes with exactly ``resources.cpus`` torch threads.

A 2-thread and a 1-thread matrix product differ in the last bit, enough to move a pixel by one. So the count is part of
a stage, never of the machine. torch is touched only where a model has imported it: stages of PIL work stay light.
"""

from __future__ import annotations

import os
import sys


def prepare_process() -> None:
    """Environment that CUDA libraries read once, before a model is loaded."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # docs.nvidia.com/cuda/cublas: reproducible results


def current_threads() -> int | None:
    """torch's thread count; None while torch is not imported."""
    torch = sys.modules.get("torch")
    return None if torch is None else int(torch.get_num_threads())


def fix_threads(cpus: int, *, gpu: bool) -> None:
    """Set torch's thread count to ``cpus``; on a GPU also choose deterministic convolution algorithms."""
    torch = sys.modules.get("torch")
    if torch is None:
        return
    if torch.get_num_threads() != cpus:
        torch.set_num_threads(cpus)
    if gpu:
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True
