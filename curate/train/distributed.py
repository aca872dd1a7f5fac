"""Several workers by Ray Train, each a Session over its share of every batch. Ray is imported here, not before."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from math import nan
from pathlib import Path
from typing import Any

from curate.engine.config import EngineConfig
from curate.engine.ray_session import RaySession, quietly
from curate.errors import CurateError, EngineError
from curate.progress import Progress
from curate.train.config import TrainConfig
from curate.train.loading import device_of
from curate.train.validating import HACKED, WARNED
from pipelines.training import FitResult, MetricsLog

POLL_S = 2.0
PATIENCE_S = 2 * 60 * 60
"""How long workers wait for each other: the slowest thing between two meetings is a validation."""


def train_together(config: TrainConfig) -> FitResult:
    """As `curate.train.training.train`, by `config.workers` workers. Ctrl-C ends them; the last checkpoint stays.

    Raises what a worker raised, and EngineError where Ray does not start or a worker is lost.
    """
    device = device_of(config)
    out = Path(config.out).absolute()
    gpus = config.workers if device.type == "cuda" else 0
    session = RaySession(EngineConfig(kind="ray", address=config.ray_address, cpus=config.workers), gpus=gpus)
    try:
        with quietly(), followed(out, config.steps):
            cache = None if config.cache is None else str(Path(config.cache).absolute())
            return _fit(config.model_copy(update={"out": str(out), "cache": cache}), use_gpu=gpus > 0)
    finally:
        session.close()


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
    except KeyboardInterrupt:
        log = MetricsLog(Path(config.out) / "metrics.jsonl")
        return FitResult(finished=False, step=_step(log), seconds=0.0, loss=nan)
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
    return Session(config, Group(distributed=True), get_device()).fit()


def _cause(error: Any) -> Exception:
    """What the first worker that failed raised, if it is one of ours; else an error that names it."""
    failures = getattr(error, "worker_failures", {})
    for rank, failure in sorted(failures.items()):
        if isinstance(failure, CurateError):
            return failure
        return EngineError(f"training worker {rank} failed: {failure}")
    return EngineError(f"Ray Train failed: {error}")


@contextmanager
def followed(out: Path, steps: int) -> Iterator[None]:
    """Progress and warnings here of what the workers log there: they have no terminal."""
    log, ended = MetricsLog(out / "metrics.jsonl"), threading.Event()
    told = _step(log)

    def show(progress: Progress) -> None:
        nonlocal told
        lines = log.read()
        for line in lines:
            if int(line["step"]) > told and WARNED in line:
                progress.note(f"warning: step {line['step']}: {HACKED}")
        step = _last(lines)
        told = max(told, step)
        progress.update(step)

    def follow(progress: Progress) -> None:
        while not ended.wait(POLL_S):
            show(progress)

    with Progress(steps, done=told, noun="steps") as progress:
        thread = threading.Thread(target=follow, args=(progress,), daemon=True, name="follow")
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            show(progress)


def _step(log: MetricsLog) -> int:
    return _last(log.read())


def _last(lines: Iterable[Mapping[str, float | int | str]]) -> int:
    return max((int(line["step"]) for line in lines), default=0)
