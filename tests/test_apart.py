"""Work in a process of its own: what comes back, what it leaves behind, and who ends with whom."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from curate.errors import ConfigError, EngineError
from curate.run.apart import apart

WAITING = """
import sys
from curate.run.apart import apart
from tests.test_apart import wait
if __name__ == "__main__":
    apart(wait, sys.argv[1])
"""


class OddError(Exception):
    """Cannot be unpickled: its arguments are not those of its base."""

    def __init__(self, number: int, *, of: str) -> None:
        super().__init__(f"{number} of {of}")


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def fill(size_mb: int) -> tuple[int, float]:
    return int(np.ones(size_mb << 20, dtype=np.uint8).sum() >> 20), peak_mb()


def refuse(key: str) -> None:
    raise ConfigError("no such thing", file="run.yaml", key=key, line=3)


def be_odd() -> None:
    raise OddError(3, of="many")


def die() -> None:
    os._exit(9)


def wait(place: str) -> None:
    Path(place).write_text(str(os.getpid()))
    time.sleep(600)


def test_its_memory_goes_with_it() -> None:
    before = peak_mb()
    filled, peak = apart(fill, 400)
    assert filled == 400 and peak > 400 and peak_mb() < before + 20


def test_what_it_raises_is_raised_here_and_says_where() -> None:
    with pytest.raises(ConfigError, match=r"^run.yaml:3: sources: no such thing$") as caught:
        apart(refuse, "sources")
    assert (caught.value.key, caught.value.line) == ("sources", 3)
    with pytest.raises(RuntimeError, match=r"^OddError: 3 of many\n(.*\n)+.*in be_odd") as other:
        apart(be_odd)
    assert str(other.value) == "OddError: 3 of many"


def test_its_death_is_an_error() -> None:
    with pytest.raises(EngineError, match=r"die.* exit code 9"):
        apart(die)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_it_ends_with_its_parent(tmp_path: Path, how: signal.Signals) -> None:
    script, place = tmp_path / "waiting.py", tmp_path / "pid"
    script.write_text(WAITING)
    parent = subprocess.Popen([sys.executable, str(script), str(place)], stderr=subprocess.PIPE, text=True,
                              start_new_session=True, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])})
    until = time.monotonic() + 120
    while not (place.exists() and place.read_text()) and time.monotonic() < until:
        time.sleep(0.1)
    child = psutil.Process(int(place.read_text()))
    if how == signal.SIGINT:
        os.killpg(parent.pid, how)  # as Ctrl-C does: both get it
    else:
        parent.kill()
    child.wait(60)
    _, said = parent.communicate(timeout=60)
    assert said.count("Traceback") == said.count("KeyboardInterrupt") == int(how == signal.SIGINT)
