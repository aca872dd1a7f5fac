"""A Ray to run on: the one that is there, the one at an address, or one started here, quiet and without dashboard."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from curate.engine.config import EngineConfig
from curate.errors import EngineError

_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is reported to anyone
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # Ray's future default; it warns on every start until this is set
    "RAY_DATA_LOG_LEVEL": "ERROR",  # it announces each dataset; everything is in Ray's log folder all the same
}
_OWN_ENVIRONMENT = {
    # A worker that dies is our business and reported; Ray's C++ side would add a page of stack traces on stderr.
    "RAY_BACKEND_LOG_LEVEL": "fatal",
}


@contextmanager
def quietly() -> Iterator[None]:
    """Without the DeprecationWarnings that Ray raises about its own settings (``DataContext()`` alone does)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class RaySession:
    """Connects on creation. ``close`` ends what was started or connected here, never a Ray that was there before."""

    def __init__(self, config: EngineConfig, *, gpus: int) -> None:
        address = cluster_address(config)
        if address and address.startswith("ray://"):
            raise EngineError(f"{address}: Ray Data does not run through a Ray client; submit the command to the "
                              "cluster: `ray job submit --address http://HEAD:8265 -- curate run CONFIG`")
        for name, value in {**_ENVIRONMENT, **({} if address else _OWN_ENVIRONMENT)}.items():
            os.environ.setdefault(name, value)
        self.owned = not is_running()
        if self.owned:
            with quietly(), _keeping_sigterm(), _without_stderr():
                import ray

                _connect(ray, config, gpus)

    def totals(self) -> tuple[float, float]:
        """CPUs and GPUs of the whole cluster."""
        import ray

        resources = ray.cluster_resources()
        return resources.get("CPU", 0.0), resources.get("GPU", 0.0)

    def gpus_taken(self) -> float:
        """GPUs of the whole cluster that some worker holds, as Ray last heard from its nodes (seconds ago)."""
        import ray

        return self.totals()[1] - float(ray.available_resources().get("GPU", 0.0))

    def close(self) -> None:
        """Shut down, if it is ours (about 1 s)."""
        if self.owned and is_running():
            import ray

            with quietly():
                ray.shutdown()


def _connect(ray: Any, config: EngineConfig, gpus: int) -> None:
    address = cluster_address(config)
    quiet = {"include_dashboard": False, "num_cpus": own_cpus(config), "num_gpus": gpus,
             "object_store_memory": config.object_store_mb << 20}
    try:
        ray.init(address=address or "local", logging_level=logging.ERROR, log_to_driver=False,
                 **({} if address else quiet))
    except Exception as error:  # a bare Exception when a node is not up after 30 s
        where = f"no Ray cluster at {address}" if address else "Ray does not start"
        raise EngineError(f"{where}: {error}") from error


def cluster_address(config: EngineConfig) -> str | None:
    """Of the Ray to join: the config's, else RAY_ADDRESS (set inside ``ray job submit``); None = start one here."""
    return config.address or os.environ.get("RAY_ADDRESS") or None


def is_running() -> bool:
    """Whether this process is connected to a Ray already."""
    ray = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())


def own_cpus(config: EngineConfig) -> int:
    """CPUs of a Ray that is started here."""
    return config.cpus or len(os.sched_getaffinity(0))


@contextmanager
def _without_stderr() -> Iterator[None]:
    """Ray's C++ side answers a log level in the environment with a line on stderr; what fails is raised anyway."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@contextmanager
def _keeping_sigterm() -> Iterator[None]:
    """``ray.init`` replaces the handler of SIGTERM; ours means: finish the blocks in flight."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)
