"""A child process that runs steps: the local engine's hand in isolation."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from collections.abc import Sequence
from multiprocessing.connection import Connection

from curate.engine.isolation import WorkerDiedError
from curate.engine.opened import Opened
from curate.engine.steps import Step
from curate.records import Work


class Child:
    """Spawned, not forked: CUDA and OpenMP do not survive a fork. Starts in seconds (imports, model loading)."""

    def __init__(self, steps: Sequence[Step], positions: Sequence[int]) -> None:
        self.positions = positions
        self._loaded: set[int] = set()
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, steps), daemon=True)
        self._process.start()
        theirs.close()

    def run(self, i: int, work: Work) -> Work:
        """See ``Hand``."""
        try:
            if i not in self._loaded:
                self._ask(i, None)
                self._loaded.add(i)
            done = self._ask(i, work)
        except (EOFError, OSError) as error:
            self._process.join(10)
            raise WorkerDiedError(f"exit code {self._process.exitcode}", loading=i not in self._loaded) from error
        assert done is not None
        return done

    def _ask(self, i: int, work: Work | None) -> Work | None:
        self._pipe.send((i, work))
        answer: Work | Exception | None = self._pipe.recv()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.kill()
        self._process.join()
        self._process.close()


def _serve(pipe: Connection, steps: Sequence[Step]) -> None:
    """Load (no work) or compute until the parent is gone: then the pipe ends, and so does this process."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # Ctrl-C reaches the whole process group; the parent decides
    opened = Opened(steps)
    with contextlib.suppress(EOFError, OSError):
        while True:
            i, work = pipe.recv()
            answer: Work | Exception | None = None
            try:
                if work is None:
                    opened.open([i])
                else:
                    answer = opened.compute(i, work)
            except Exception as error:
                answer = error
            pipe.send(answer)
