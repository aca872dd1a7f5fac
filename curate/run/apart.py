"""A function in a process of its own, so that the memory that it takes goes with it.

What Python, numpy and Arrow have freed stays with a process for a good part; a driver that has planned a million units
would be 200 MB larger than one that has planned ten thousand for as long as it runs.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, TypeVar, cast

from curate.errors import CurateError, EngineError

Result = TypeVar("Result")
ENDING_S = 10.0


def apart(work: Callable[..., Result], *arguments: object) -> Result:
    """``work(*arguments)`` in a new process; function, arguments and result are pickled. Main thread only.

    What it raises is raised here. EngineError when the process dies. It ends at once when this process is interrupted
    or dies.
    """
    context = multiprocessing.get_context("spawn")  # threads do not survive a fork
    answers, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(theirs, work, arguments), daemon=True)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # inherited: Ctrl-C reaches the whole process group
    try:
        process.start()
    finally:
        signal.signal(signal.SIGINT, before)
    try:
        theirs.close()
        done, result = answers.recv()
        process.join(ENDING_S)
    except EOFError as error:
        process.join()
        raise EngineError(f"the process that was to {work.__name__.replace('_', ' ')} died with exit code "
                          f"{process.exitcode}; -9 mostly means too little memory") from error
    finally:
        process.kill()
        process.join()
        answers.close()
    if not done:
        raise result
    return cast(Result, result)


def _serve(answers: Connection, work: Callable[..., object], arguments: tuple[object, ...]) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        answer: tuple[bool, Any] = (True, work(*arguments))
    except Exception as error:
        answer = (False, _picklable(error))
    answers.send(answer)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _picklable(error: Exception) -> Exception:
    """The error, or one that says the same; with the traceback where that is shown."""
    said = "".join(traceback.format_exception(error))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # its class has an __init__ of its own
        error = RuntimeError(f"{type(error).__name__}: {error}")
    if not isinstance(error, CurateError):
        error.add_note(said)
    return error
