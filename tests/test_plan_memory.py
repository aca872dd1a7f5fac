"""Plans of many units stay columns: the benchmark of scale on 200,000 of them, with generous bounds."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCALE = Path(__file__).parents[1] / "benchmarks" / "scale.py"
UNITS = 200_000
BYTES_A_UNIT = {"plan": 700, "resume": 500}
"""Three times what was measured for a million; as objects a unit would take some 2 KB."""


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("what", BYTES_A_UNIT)
def test_memory_grows_by_few_bytes_a_unit(what: str) -> None:
    def told(units: int) -> float:
        """MB at the peak, less those of the imports."""
        command = [sys.executable, str(SCALE), what, "--units", str(units)]
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        imports = float(re.findall(r"imports (\d+) MB", out)[0])
        return max(float(peak) for peak in re.findall(r"peak (\d+) MB", out)) - imports

    grown = told(UNITS) - told(UNITS // 20)
    assert grown < BYTES_A_UNIT[what] * UNITS / 1e6
