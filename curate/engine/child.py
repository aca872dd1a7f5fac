"""A child process that runs one step: the local engine's hand in isolation."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from multiprocessing.connection import Connection

from curate.engine.isolation import WorkerDiedError
from curate.engine.opened import Opened
from curate.engine.steps import Step
from curate.records import Work

READY = "ready"


class Child:
    """Spawned, not forked: CUDA and OpenMP do not survive a fork. Starts in seconds (imports, model loading)."""

    def __init__(self, step: Step) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, step), daemon=True)
        self._process.start()
        theirs.close()
        self._ready = False

    def run(self, work: Work) -> Work:
        """See ``Hand``."""
        try:
            if not self._ready:
                self._receive()
                self._ready = True
            self._pipe.send(work)
            answer = self._receive()
        except (EOFError, OSError) as error:
            self._process.join(10)
            raise WorkerDiedError(f"exit code {self._process.exitcode}", loading=not self._ready) from error
        assert isinstance(answer, Work)
        return answer

    def _receive(self) -> object:
        answer = self._pipe.recv()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.kill()
        self._process.join()
        self._process.close()


def _serve(pipe: Connection, step: Step) -> None:
    """Answer each Work until the parent is gone: then the pipe ends, and so does this process."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # Ctrl-C reaches the whole process group; the parent decides
    with contextlib.suppress(EOFError, OSError):
        opened = Opened([step])
        try:
            opened.open([0])
        except Exception as error:
            pipe.send(error)
            return
        pipe.send(READY)
        while True:
            work = pipe.recv()
            try:
                answer: Work | Exception = opened.compute(0, work)
            except Exception as error:
                answer = error
            pipe.send(answer)
