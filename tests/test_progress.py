"""Progress: what the numbers mean (totals, resume, rate) and what each kind of output gets."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest

from curate.progress import Progress, duration, pace


class Clock:
    """Time that moves when told."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def plain(total: int, clock: Clock, done: int = 0) -> tuple[Progress, io.StringIO]:
    stream = io.StringIO()
    return Progress(total, stream=stream, clock=clock, done=done), stream


def test_plain_lines_have_no_control_codes_and_keep_their_distance() -> None:
    clock = Clock()
    progress, stream = plain(100, clock)
    with progress:
        for done in range(1, 51):
            clock.now += 0.5
            progress.update(done, made=done, failed=done // 10, stage="stylize")
    lines = stream.getvalue().splitlines()
    assert "\x1b" not in stream.getvalue() and "\r" not in stream.getvalue()
    assert len(lines) == 6  # the start, and one each 5 s of 25 s (the end repeats the last: said once)
    assert lines[0].startswith("0/100 units    0%")
    assert lines[-1] == "50/100 units   50%  2.0/s  ETA 0:25  made 50  failed 5  pending 50  [stylize]"


def test_lines_thin_out_in_a_long_run() -> None:
    clock = Clock()
    progress, stream = plain(100_000, clock)
    with progress:
        for done in range(1, 7201):
            clock.now += 1
            progress.update(done)
    assert 150 < len(stream.getvalue().splitlines()) < 300  # 2 hours; 1440 lines at one each 5 s


def test_a_resumed_run_does_not_count_old_units_in_its_rate() -> None:
    clock = Clock()
    progress, _ = plain(1000, clock, done=900)
    with progress:
        assert progress.eta_s() is None
        clock.now += 10
        progress.update(910)
        assert progress.rate() == pytest.approx(1.0)
        assert progress.eta_s() == pytest.approx(90.0)


def test_the_rate_forgets_a_slow_start() -> None:
    clock = Clock()
    progress, _ = plain(10_000, clock)
    with progress:
        clock.now += 3600  # models load
        progress.update(0)
        for done in range(1, 601):
            clock.now += 1
            progress.update(done)
        assert progress.rate() == pytest.approx(1.0, rel=0.01)


def test_counts_that_are_not_told_again_stay() -> None:
    clock = Clock()
    progress, stream = plain(10, clock)
    with progress:
        progress.update(4, kept=3, rejected=1)
        progress.update(5, failed=1)
    assert "kept 3  rejected 1  failed 1  pending 5" in stream.getvalue().splitlines()[-1]


def test_the_last_state_is_said_even_when_the_run_raises() -> None:
    progress, stream = plain(10, Clock())
    with pytest.raises(KeyboardInterrupt), progress:
        progress.update(7)
        raise KeyboardInterrupt
    assert stream.getvalue().splitlines()[-1].startswith("7/10 units")


def test_an_empty_run_is_complete() -> None:
    progress, stream = plain(0, Clock())
    with progress:
        progress.update(0)
    assert stream.getvalue().startswith("0/0 units  100%")


def test_live_bar_shows_numbers_stage_and_notes() -> None:
    stream = io.StringIO()
    with Progress(8, stream=stream, live=True, clock=Clock()) as progress:
        progress.update(3, made=3, stage="destylize")
        progress.note("[worker] lost one actor")
    shown = stream.getvalue()
    assert "\x1b[" in shown
    for part in ("3/8", "made 3", "pending 5", "[destylize]", "[worker] lost one actor"):
        assert part in shown


def test_notes_stand_between_plain_lines() -> None:
    progress, stream = plain(2, Clock())
    with progress:
        progress.note("model loaded")
        progress.update(2)
    assert [line.split()[0] for line in stream.getvalue().splitlines()] == ["0/2", "model", "2/2"]


@pytest.mark.parametrize(("seconds", "text"), [(7, "0:07"), (59.6, "1:00"), (750, "12:30"), (11_100, "3:05:00"),
                                               (187_800, "2d 04:10")])
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(("per_second", "text"), [(0.0, "0.0/s"), (12.34, "12.3/s"), (0.5, "30.0/min"),
                                                  (0.01, "36.0/h")])
def test_pace(per_second: float, text: str) -> None:
    assert pace(per_second) == text


def test_the_module_is_light() -> None:
    code = "import sys, curate.progress; print({'rich', 'torch', 'ray', 'pandas', 'numpy'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"
