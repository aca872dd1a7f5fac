"""Several workers by Ray Train, each a Session over its share of every batch. Ray is imported here, not before."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, wait
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from curate.engine.config import EngineConfig
from curate.engine.ray_session import RaySession, quietly
from curate.errors import CurateError, EngineError
from curate.files import is_there, write_atomic
from curate.progress import Progress
from curate.stop import StopFlag
from curate.train.begun import CHECKPOINT
from curate.train.config import TrainConfig
from curate.train.loading import device_of
from curate.train.validating import HACKED, WARNED
from pipelines.training import FitResult, MetricsLog
from pipelines.training.checkpoint import step_of

STOP = ".stop"
"""In `out`, while the workers are asked to stop."""
POLL_S, ASK_S = 2.0, 0.2
PATIENCE_S = 2 * 60 * 60
"""How long workers wait for each other: the slowest thing between two meetings is a validation."""


def train_together(config: TrainConfig) -> FitResult:
    """As `curate.train.training.train`, by `config.workers` workers.

    SIGINT or SIGTERM here ends them after their step, with a checkpoint: they look for a file, for signals reach them
    on no other machine. A second one raises KeyboardInterrupt. Raises what a worker raised, and EngineError where Ray
    does not start or a worker is lost.
    """
    device = device_of(config)
    out = Path(config.out).absolute()
    gpus = config.workers if device.type == "cuda" else 0
    session = RaySession(EngineConfig(kind="ray", address=config.ray_address, cpus=config.workers), gpus=gpus)
    cache = None if config.cache is None else str(Path(config.cache).absolute())
    placed = config.model_copy(update={"out": str(out), "cache": cache})
    try:
        with quietly(), followed(out, config.steps) as progress:
            return until_stopped(lambda: _fit(placed, use_gpu=gpus > 0), out / STOP, progress)
    finally:
        session.close()


def until_stopped(fit: Callable[[], FitResult], file: Path, progress: Progress) -> FitResult:
    """What `fit` gives; a signal puts `file` there. It runs in a thread: in the main one Ray Train has a handler of its
    own, which aborts the workers in the middle of a step."""
    stop, told, outcome = StopFlag(), False, Future[FitResult]()

    def work() -> None:
        try:
            outcome.set_result(fit())
        except BaseException as error:
            outcome.set_exception(error)

    file.unlink(missing_ok=True)
    try:
        with stop.on_signals():
            threading.Thread(target=work, daemon=True, name="ray-train").start()
            while not wait([outcome], timeout=ASK_S).done:
                if stop.requested and not told:
                    told = True
                    write_atomic(file, b"")
                    progress.note("stopping after this step; once more to stop now")
    finally:
        file.unlink(missing_ok=True)
    return outcome.result()


def _fit(config: TrainConfig, *, use_gpu: bool) -> FitResult:
    from ray.train import RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchConfig, TorchTrainer

    trainer = TorchTrainer(
        _work,
        train_loop_config={"config": config.model_dump_json(), "folder": str(Path.cwd())},
        torch_config=TorchConfig(backend="nccl" if use_gpu else "gloo", timeout_s=PATIENCE_S),
        scaling_config=ScalingConfig(num_workers=config.workers, use_gpu=use_gpu),
        run_config=RunConfig(name="ray", storage_path=config.out),
    )
    try:
        result: FitResult = trainer.fit().return_value
    except TrainingFailedError as error:
        raise _cause(error) from error
    return result


def _work(values: dict[str, str]) -> FitResult:
    """What each worker runs; Ray hands on what the first returns."""
    from ray.train.torch import get_device

    from curate.train.training import Session
    from pipelines.training import Group

    if Path(values["folder"]).is_dir():  # Ray has put the worker into a folder of its own; paths are relative to this
        os.chdir(values["folder"])
    config = TrainConfig.model_validate_json(values["config"])
    stops = partial(is_there, Path(config.out) / STOP)
    return Session(config, Group(distributed=True), get_device(), stops).fit()


def _cause(error: Any) -> Exception:
    """What the first worker that failed raised, if it is one of ours; else an error that names it."""
    failures = getattr(error, "worker_failures", {})
    for rank, failure in sorted(failures.items()):
        if isinstance(failure, CurateError):
            return failure
        return EngineError(f"training worker {rank} failed: {failure}")
    return EngineError(f"Ray Train failed: {error}")


@contextmanager
def followed(out: Path, steps: int) -> Iterator[Progress]:
    """Progress and warnings here of what the workers log there: they have no terminal."""
    log, ended = MetricsLog(out / "metrics.jsonl"), threading.Event()
    told = step_of(out / CHECKPOINT)
    log.rewind(told)  # as the workers will: the bar would begin where a killed training was, and run back

    def show(progress: Progress) -> None:
        nonlocal told
        lines = log.read()
        for line in lines:
            if int(line["step"]) > told and WARNED in line:
                progress.note(f"warning: step {line['step']}: {HACKED}")
        told = max(told, _last(lines))
        progress.update(told)

    def follow(progress: Progress) -> None:
        while not ended.wait(POLL_S):
            show(progress)

    with Progress(steps, done=told, noun="steps") as progress:
        thread = threading.Thread(target=follow, args=(progress,), daemon=True, name="follow")
        thread.start()
        try:
            yield progress
        finally:
            ended.set()
            thread.join()
            show(progress)


def _last(lines: Iterable[Mapping[str, float | int | str]]) -> int:
    return max((int(line["step"]) for line in lines), default=0)
