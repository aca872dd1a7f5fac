"""The Ray engine: blocks stream through pools of workers by ``ray.data`` ``map_batches``.

A row is one block, pickled; images travel as PNG bytes. Measured on 2 cores: 1.3 ms a block to put it in, 6.5 ms a
block and pool on the way: noise beside a model, so five units a block or fifty make no difference to Ray. Order of
arrival is free; results are not affected by it. Ray's own retries are bounded by the gate (see ``ray_gate``).
On a cluster every node must have the code, and reach the run directory at the same path or URL: workers commit there.
"""

from __future__ import annotations

import itertools
import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from curate.engine import ray_gate
from curate.engine.advance import Line
from curate.engine.config import EngineConfig
from curate.engine.isolation import Deaths, Hand, WorkerDiedError
from curate.engine.jobs import Job
from curate.engine.local import count_gpus
from curate.engine.pools import Demand, Pool, fit_pools, make_pools
from curate.engine.ray_session import RaySession, cluster_address, is_running, own_cpus, quietly
from curate.engine.ray_worker import (
    COLUMN,
    Broken,
    HandedBack,
    LoneWorker,
    PoolSpec,
    PoolWorker,
    Row,
    from_table,
    to_cell,
)
from curate.engine.reports import BlockReport, EngineReport
from curate.engine.steps import Step
from curate.errors import EngineError
from curate.records import Work
from curate.stop import StopFlag

WAVE = 10_000
"""Blocks that one Ray dataset holds (8 KB each, in the driver); a longer plan goes in waves, each with new workers."""
POLL_S = 0.2
"""How often the driver looks at the stop flag, and at the gate while no block arrives."""


class RayEngine:
    """See ``curate.engine.driver.Engine``."""

    journal = False

    def __init__(self, config: EngineConfig, demand: Demand | None) -> None:
        self._config, self._demand = config, demand
        self.gpus = 0.0
        self._session: RaySession | None = None
        self._pools: list[Pool] = []
        self._counts: list[int] = []

    def start(self, line: Line, num_jobs: int) -> dict[str, int]:
        """A Ray of our own is checked before it is started (5 s), another one after connecting."""
        self._pools = make_pools(line.steps, line.needed, fuse=self._config.fuse)
        asks_gpu = any(pool.resources.gpus > 0 for pool in self._pools)
        gpus = self._config.gpus if self._config.gpus is not None else count_gpus() if asks_gpu else 0
        if cluster_address(self._config) is None and not is_running():
            fit_pools(self._pools, cpus=own_cpus(self._config), gpus=gpus, num_jobs=num_jobs, demand=self._demand)
        self._session = RaySession(self._config, gpus=gpus)
        cluster_cpus, cluster_gpus = self._session.totals()
        self._counts = fit_pools(self._pools, cpus=cluster_cpus, gpus=cluster_gpus, num_jobs=num_jobs,
                                 demand=self._demand)
        self.gpus = sum(pool.resources.gpus * n for pool, n in zip(self._pools, self._counts, strict=True))
        return {pool.name: count for pool, count in zip(self._pools, self._counts, strict=True)}

    def run(self, line: Line, jobs: Iterable[Job], on_block: Callable[[BlockReport], None], stop: StopFlag,
            report: EngineReport, deaths: Deaths) -> set[int]:
        """Wave after wave."""
        suspects: set[int] = set()
        rest = iter(jobs)
        while not stop.requested and (cells := [to_cell(job) for job in itertools.islice(rest, WAVE)]):
            wave = _Wave(self._config, self._pools, self._counts, line)
            suspects |= wave.run(cells, on_block, stop, report, deaths, self._held)
        return suspects

    def _held(self) -> float:
        """GPUs that the workers hold now.

        Pools of fixed size hold what they were given. Of pools that grow and shrink Ray Data tells no number: theirs is
        all that is taken in the whole cluster, at least their least and at most their most, so with other work in the
        cluster it is an upper bound.
        """
        most = sum(pool.resources.gpus * max(n, pool.resources.most or n)
                   for pool, n in zip(self._pools, self._counts, strict=True))
        if most == self.gpus or self._session is None:
            return self.gpus
        return min(max(self._session.gpus_taken(), self.gpus), most)

    def open_hand(self, line: Line, i: int) -> Hand:
        """An actor like those of the step's pool."""
        return RayHand(line.steps, next(pool for pool in self._pools if i in pool.positions))

    def close(self) -> None:
        """End our Ray."""
        if self._session is not None:
            self._session.close()


class _Wave:
    """One dataset from start to end."""

    def __init__(self, config: EngineConfig, pools: Sequence[Pool], counts: Sequence[int], line: Line) -> None:
        self._pools, self._counts, self._line = pools, counts, line
        self._gate = _open_gate(config)
        self._rows: queue.Queue[Row | BaseException | None] = queue.Queue()
        self._closing = threading.Event()
        self._deaths_seen = 0

    def run(self, cells: list[bytes], on_block: Callable[[BlockReport], None], stop: StopFlag, report: EngineReport,
            deaths: Deaths, held: Callable[[], float]) -> set[int]:
        """Numbers of the suspects. ``cells``: a job each; they are taken out of the list. ``held``: GPUs that the
        workers have now, for the report."""
        import ray

        begun = time.time()
        consumer = threading.Thread(target=self._consume, args=(self._dataset(cells),), daemon=True)
        consumer.start()
        try:
            suspects = self._collect(on_block, stop, deaths, lambda: report.hold(held()))
        finally:
            self._closing.set()
            status = self._status()
            first = status.first_entry or time.time()
            report.startup_s += first - begun
            report.work_s += time.time() - first
            consumer.join(5)
            ray.kill(self._gate)
        return suspects

    def _dataset(self, cells: list[bytes]) -> Any:
        with quietly():
            import ray
            import ray.data

            context = ray.data.DataContext.get_current().copy()
            context.enable_progress_bars = False
            context.print_on_execution_start = False
            context.max_errored_blocks = -1
            with ray.data.DataContext.current(context):
                num_jobs = len(cells)
                data = ray.data.from_items([{COLUMN: cell} for cell in cells], override_num_blocks=num_jobs)
                cells.clear()  # they are in Ray's store
                for spec, pool, count in zip(self._specs(), self._pools, self._counts, strict=True):
                    data = data.map_batches(
                        PoolWorker, fn_constructor_kwargs={"spec": spec}, batch_size=1, batch_format="pyarrow",
                        compute=ray.data.ActorPoolStrategy(
                            min_size=count, max_size=max(count, min(pool.resources.most or count, num_jobs)),
                            max_tasks_in_flight_per_actor=2),
                        num_cpus=pool.resources.cpus, num_gpus=pool.resources.gpus,
                        max_restarts=-1, max_task_retries=-1)  # bounded by the gate
                return data

    def _specs(self) -> list[PoolSpec]:
        return [PoolSpec(root=self._line.store.root.resolve(), steps=self._line.steps, needed=self._line.needed,
                         part=pool.positions, index=i, name=pool.name, last=i == len(self._pools) - 1, gate=self._gate)
                for i, pool in enumerate(self._pools)]

    def _consume(self, data: Any) -> None:
        """In a thread of its own, so that the driver's thread always hears Ctrl-C and the gate."""
        try:
            for table in data.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
                for row in from_table(table):
                    self._rows.put(row)
                if self._closing.is_set():
                    break
        except BaseException as error:  # for the driver's thread to raise
            self._rows.put(error)
        self._rows.put(None)

    def _collect(self, on_block: Callable[[BlockReport], None], stop: StopFlag, deaths: Deaths,
                 on_look: Callable[[], None]) -> set[int]:
        suspects: set[int] = set()
        done, told = 0, False
        looked = time.monotonic()
        while True:
            if stop.requested and not told:
                self._gate.stop.remote()
                told = True
            try:
                row = self._rows.get(timeout=POLL_S)
            except queue.Empty:
                looked = 0.0
            else:
                if row is None:
                    return suspects
                if isinstance(row, BaseException):
                    raise EngineError(f"Ray gave up: {row}") from row
                if isinstance(row, Broken):
                    raise row.error
                if isinstance(row, HandedBack) and row.suspect:
                    suspects.add(row.index)
                if isinstance(row, BlockReport):
                    done += 1
                    on_block(row)
            if told or time.monotonic() - looked > 1.0:
                looked = time.monotonic()
                status = self._status()
                on_look()
                self._check(status, deaths)
                if told and status.in_flight == 0 and done >= status.done:
                    return suspects  # what is left in the queues has not begun

    def _status(self) -> ray_gate.GateStatus:
        import ray
        from ray.exceptions import RayError

        try:
            status: ray_gate.GateStatus = ray.get(self._gate.status.remote())
        except RayError as error:
            raise EngineError(f"Ray is gone: {error}") from error
        return status

    def _check(self, status: ray_gate.GateStatus, deaths: Deaths) -> None:
        if status.fatal:
            raise EngineError(status.fatal)
        new, self._deaths_seen = status.deaths - self._deaths_seen, status.deaths
        deaths.add(new, where="the worker pools")


def _open_gate(config: EngineConfig) -> Any:
    """The gate as an actor on the driver's node: with any other node it might be lost, and nothing could go on.

    Pickled by value: its process then imports nothing of ours (2 s of CPU, mostly pandas).
    """
    import ray
    from ray import cloudpickle
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    cloudpickle.register_pickle_by_value(ray_gate)
    try:
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        return ray.remote(num_cpus=0, scheduling_strategy=here)(ray_gate.Gate).remote(config.block_attempts)
    finally:
        cloudpickle.unregister_pickle_by_value(ray_gate)


class RayHand:
    """An actor with the resources of a pool, for isolation. It is never restarted."""

    def __init__(self, steps: Sequence[Step], pool: Pool) -> None:
        import ray

        self.positions = pool.positions
        self._loaded: set[int] = set()
        worker = ray.remote(num_cpus=pool.resources.cpus, num_gpus=pool.resources.gpus, max_restarts=0)(LoneWorker)
        self._worker = worker.remote(tuple(steps))

    def run(self, i: int, work: Work) -> Work:
        """See ``Hand``."""
        if i not in self._loaded:
            self._ask(i, None)
            self._loaded.add(i)
        done = self._ask(i, work)
        assert done is not None
        return done

    def _ask(self, i: int, work: Work | None) -> Work | None:
        import ray
        from ray.exceptions import OutOfMemoryError, RayActorError

        try:
            answer: Work | Exception | None = ray.get(self._worker.answer.remote(i, work))
        except (RayActorError, OutOfMemoryError) as error:
            raise WorkerDiedError(str(error).splitlines()[0], loading=i not in self._loaded) from error
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        """End the actor."""
        import ray

        ray.kill(self._worker)
