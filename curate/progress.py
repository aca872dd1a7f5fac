"""Live progress of a run: a bar on a terminal, plain lines in a log file.

All numbers are totals, not increments: saying the same twice changes nothing, and a resumed run starts where it was.
The rate counts only units finished while this process ran, over the last five minutes, so neither a resume nor a
slow model load spoils the ETA. Output goes to stderr; rich is imported only when there is a terminal to draw on.

    with Progress(len(units), done=committed) as progress:
        progress.update(done, made=made, failed=failed, stage="stylize")
"""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

if TYPE_CHECKING:
    import rich.progress

WINDOW_S = 300.0
"""How far back the rate looks: several blocks even of a large diffusion model."""


class Progress:
    """Shows how far a run is. ``done`` units were finished before this process began (a resumed run)."""

    def __init__(self, total: int, *, done: int = 0, stream: TextIO | None = None, live: bool | None = None,
                 every_s: float = 5.0, clock: Callable[[], float] = time.monotonic, noun: str = "units") -> None:
        self._total, self._done, self._every_s, self._clock, self._noun = total, done, every_s, clock, noun
        self._stream = sys.stderr if stream is None else stream
        self._live = _is_terminal(self._stream) if live is None else live
        self._stage = ""
        self._counts: dict[str, int] = {}
        self._started = self._said = clock()
        self._said_line = ""
        self._samples = deque([(self._started, done)])
        self._bar: rich.progress.Progress | None = None

    def __enter__(self) -> Self:
        self._started = self._clock()
        self._samples = deque([(self._started, self._done)])
        if self._live:
            self._bar = _bar(self._stream)
            self._bar.add_task("", total=self._total, completed=self._done, text=self._text())
            self._bar.start()
        else:
            self._say()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None,
                 ) -> None:
        if self._bar is not None:
            self._draw()
            self._bar.stop()
        else:
            self._say()

    def update(self, done_units: int, *, made: int | None = None, failed: int | None = None,
               rejected: int | None = None, kept: int | None = None, stage: str | None = None) -> None:
        """Totals so far. What is None keeps its last value; ``stage`` names what is running now."""
        given = {"made": made, "kept": kept, "rejected": rejected, "failed": failed}
        self._counts |= {name: count for name, count in given.items() if count is not None}
        self._stage = self._stage if stage is None else stage
        self._sample(done_units)
        if self._bar is not None:
            self._draw()
        elif self._clock() - self._said >= self._interval_s():
            self._say()

    def note(self, text: str) -> None:
        """One line for the user that stays: above the bar, or between the plain lines."""
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(text, file=self._stream, flush=True)

    def rate(self) -> float:
        """Units per second over the last five minutes; 0 before the first one is finished."""
        then, before = self._samples[0]
        elapsed_s = self._clock() - then
        return (self._done - before) / elapsed_s if elapsed_s > 0 else 0.0

    def eta_s(self) -> float | None:
        """Seconds to the end at that rate; None while nothing has been finished."""
        rate = self.rate()
        return (self._total - self._done) / rate if rate > 0 else None

    def _sample(self, done_units: int) -> None:
        self._done = done_units
        now = self._clock()
        self._samples.append((now, done_units))
        while len(self._samples) > 2 and self._samples[1][0] <= now - WINDOW_S:
            self._samples.popleft()

    def _interval_s(self) -> float:
        """Every few seconds at first, every minute in a run of hours: a week's log stays readable."""
        return max(self._every_s, min(60.0, (self._clock() - self._started) / 60))

    def _text(self) -> str:
        """``12.3/s  ETA 0:41  kept 60  rejected 3  failed 1  pending 136  [stylize]``"""
        eta_s = self.eta_s()
        parts = [f"in {duration(self._clock() - self._started)}" if self._done >= self._total
                 else f"ETA {'-' if eta_s is None else duration(eta_s)}"]
        parts += [f"{name} {self._counts[name]}" for name in ("made", "kept", "rejected", "failed")
                  if name in self._counts]
        parts += [f"pending {self._total - self._done}"] + ([f"[{self._stage}]"] if self._stage else [])
        return "  ".join([pace(self.rate()), *parts])

    def _draw(self) -> None:
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=self._done, text=self._text())

    def _say(self) -> None:
        share = self._done / self._total if self._total else 1.0
        line = f"{self._done}/{self._total} {self._noun}  {share:4.0%}  {self._text()}"
        self._said = self._clock()
        if line != self._said_line:
            print(line, file=self._stream, flush=True)
        self._said_line = line


def count(n: int, noun: str) -> str:
    """``1 style``, ``1,200 styles``."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def duration(seconds: float) -> str:
    """``0:07``, ``12:30``, ``3:05:00``, ``2d 04:10``."""
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    days, h = divmod(hours, 24)
    if days:
        return f"{days}d {h:02d}:{m:02d}"
    return f"{h}:{m:02d}:{s:02d}" if h else f"{m}:{s:02d}"


def pace(per_second: float) -> str:
    """A rate with the unit of time that makes it at least one, so that slow models do not read ``0.0/s``."""
    for factor, unit in ((1, "s"), (60, "min")):
        if per_second * factor >= 1 or per_second == 0:
            return f"{per_second * factor:.1f}/{unit}"
    return f"{per_second * 3600:.1f}/h"


def _is_terminal(stream: TextIO) -> bool:
    return stream.isatty() and os.environ.get("TERM", "") != "dumb"


def _bar(stream: TextIO) -> rich.progress.Progress:
    from rich import progress
    from rich.console import Console
    from rich.text import Text

    class Numbers(progress.ProgressColumn):
        """Our own text as it is: rich would read ``[stage]`` as markup."""

        def render(self, task: progress.Task) -> Text:
            return Text(str(task.fields["text"]), style="dim")

    return progress.Progress(progress.BarColumn(bar_width=28), progress.MofNCompleteColumn(),
                             progress.TaskProgressColumn(), Numbers(),
                             console=Console(file=stream, force_terminal=True), refresh_per_second=4)
