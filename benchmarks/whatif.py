"""How long does `curate whatif` take on a million units? `python -m benchmarks.whatif [--units N]`

A synthetic index (`benchmarks/synthetic_run.py`: 16 score columns, a 64-bit hash of its own for every unit, 250,000
subjects) is written to a temporary folder; then the command runs as a user would run it, start-up included.
Bar: four rule sets over 1,000,000 units in at most 3 s. Exit code 1 if missed.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.synthetic_run import write_run

BAR_S = 3.0

def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--units", type=int, default=1_000_000)
    units = parser.parse_args().units
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "synthetic"
        write_run(run, units, pictures=8)
        command = [sys.executable, "-m", "curate.cli", "whatif", str(run), "--set", "rules.0.min=[0.2,0.25,0.35]"]
        best = min(timed(command) for _ in range(3))
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    met = best <= BAR_S
    print(f"{units:,} units, four rule sets: {best:.2f} s, peak memory {peak:.1f} GiB "
          f"(bar {BAR_S:g} s at 1,000,000): {'met' if met else 'MISSED'}")
    return 0 if met else 1


def timed(command: list[str]) -> float:
    begun = time.perf_counter()
    subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    return time.perf_counter() - begun


if __name__ == "__main__":
    sys.exit(main())
