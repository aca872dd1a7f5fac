"""A training on a CPU keeps freed memory: the next step finds its pages where the last one left them."""

from __future__ import annotations

import subprocess
import sys

import pytest

STEPS = """
import ctypes, resource, sys
if sys.argv[1] == "kept":
    from pipelines.training.allocator import keep_freed_memory
    keep_freed_memory()
library = ctypes.CDLL(None)
library.malloc.restype, library.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]

def step():
    held = [library.malloc(20 << 20) for _ in range(4)]
    for each in held:
        ctypes.memset(each, 1, 20 << 20)
    for each in held:
        library.free(each)

step(); step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc")
def test_what_a_step_frees_the_next_one_has_without_a_page_fault() -> None:
    def faults(how: str) -> int:
        done = subprocess.run([sys.executable, "-c", STEPS, how], capture_output=True, text=True, check=True)
        return int(done.stdout)

    assert faults("kept") < 100 < 10_000 < faults("given back")
