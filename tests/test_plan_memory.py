"""Plans of many units stay columns, and a driver holds next to nothing of a unit: the benchmark of scale, on fewer."""

from __future__ import annotations

import re
import subprocess
import sys
import tracemalloc
from itertools import islice
from pathlib import Path

import pytest

from curate.engine import ReadInputs
from curate.engine.jobs import Jobs
from curate.store import RunStore

SCALE = Path(__file__).parents[1] / "benchmarks" / "scale.py"
UNITS = 200_000
BYTES_A_UNIT = {"plan": 700, "resume": 100}
"""Three times what was measured; as objects a unit would take some 2 KB."""


def peaks(what: str, units: int) -> dict[str, float]:
    """MB at the peak of each step, less those of the imports."""
    command = [sys.executable, str(SCALE), what, "--units", str(units)]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    imports = float(re.findall(r"imports (\d+) MB", out)[0])
    return {name: float(peak) - imports for name, peak in re.findall(r"  (\w[^:]*): .* peak (\d+) MB", out)}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("what", BYTES_A_UNIT)
def test_memory_grows_by_few_bytes_a_unit(what: str) -> None:
    grown = max(peaks(what, UNITS).values()) - max(peaks(what, UNITS // 20).values())
    assert grown < BYTES_A_UNIT[what] * UNITS / 1e6


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_what_planning_takes_is_not_the_drivers() -> None:
    few, many = peaks("drive", UNITS // 20), peaks("drive", UNITS)
    assert many["build units"] > few["build units"] + 30, "in the process that plans"
    assert many["plan apart"] < few["plan apart"] + 5 and many["drive"] < few["drive"] + 20


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_finding_what_is_left_takes_few_bytes_a_unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of Python and numpy, where it can be told to the byte: an index of all ids would be 60."""
    monkeypatch.syspath_prepend(str(SCALE.parent))
    from scale import commit_most  # type: ignore[import-not-found]

    def held(units: int) -> int:
        root = tmp_path / str(units)
        commit_most(root, units, 8, False, None)
        tracemalloc.start()
        jobs = Jobs(RunStore.open(root), [ReadInputs({}, size=64)])
        assert len(list(islice(jobs, 50))) == 50
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    assert held(3 * UNITS // 2) - held(UNITS // 2) < 15 * UNITS
