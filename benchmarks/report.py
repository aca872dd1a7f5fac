"""How long do `curate stats` and `curate report` take on a large run? `python benchmarks/report.py [--units N]`

A synthetic run (16 score columns, 500 styles, 320 units with pictures of 512 px; its other candidates are not there, so
the ledger is short) is written to a temporary folder; then the commands run as a user would run them, start-up
included. Bar at 1,000,000 units: at most 60 s and 4 GiB each. The page: at most 15 MB. Exit code 1 if missed.
On a machine that others use too, the CPU seconds are the figure to compare.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.synthetic_run import write_run

BAR_S, BAR_GIB, BAR_MB = 60.0, 4.0, 15.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--units", type=int, default=1_000_000)
    units = parser.parse_args().units
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "synthetic"
        write_run(run, units)
        met = [measured(command, run, units) for command in ("stats", "report")]
        page_mb = (run / "report" / "index.html").stat().st_size / 1e6
    met.append(page_mb <= BAR_MB)
    print(f"index.html: {page_mb:.1f} MB (bar {BAR_MB:g} MB): {'met' if met[-1] else 'MISSED'}")
    return 0 if all(met) else 1


def measured(command: str, run: Path, units: int) -> bool:
    """Run a command; print and judge its time and peak memory."""
    begun = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "curate.cli", command, str(run)], stdout=subprocess.DEVNULL,
                               env={**os.environ, "OMP_NUM_THREADS": "1"})
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds, gib, cpu_s = time.perf_counter() - begun, usage.ru_maxrss / 2**20, usage.ru_utime + usage.ru_stime
    met = process.returncode == 0 and seconds <= BAR_S and gib <= BAR_GIB
    print(f"curate {command:6s} {units:,} units: {seconds:.1f} s ({cpu_s:.1f} s of CPU), {gib:.2f} GiB "
          f"(bar {BAR_S:g} s, {BAR_GIB:g} GiB at 1,000,000): {'met' if met else 'MISSED'}")
    return met


if __name__ == "__main__":
    sys.exit(main())
