"""Which stages share a worker, how many workers fit, and what a batch does when a unit or the memory fails it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pytest

from curate.engine.batches import Batch, Refusal
from curate.engine.config import EngineConfig
from curate.engine.pools import fit_pools, make_pools
from curate.engine.ray_gate import LOADING_ATTEMPTS, Gate
from curate.engine.ray_session import RaySession, cluster_address
from curate.engine.steps import Apply, Step
from curate.errors import EngineError, ModelError, UnitError
from curate.interfaces import Resources


@dataclass(frozen=True)
class Idle:
    """A step with a name and needs."""

    name: str
    resources: Resources | None
    phase: Literal["makes", "scores"] = "makes"

    def open(self) -> Apply:
        return lambda work: work


def pools_of(*needs: Resources | None, fuse: bool = True) -> list[str]:
    steps: list[Step] = [Idle(name, need) for name, need in zip("abcdef", needs, strict=False)]
    return [pool.name for pool in make_pools(steps, range(len(steps)), fuse=fuse)]


CPU, CPU2, GPU = Resources(), Resources(cpus=2), Resources(gpus=1)


def test_equal_neighbours_share_a_worker() -> None:
    assert pools_of(None, CPU, CPU, CPU2, CPU) == ["a+b+c", "d", "e"]
    assert pools_of(None, CPU, CPU, fuse=False) == ["a+b", "c"]


def test_light_steps_never_sit_on_a_gpu() -> None:
    assert pools_of(None, GPU, GPU, CPU) == ["a", "b+c", "d"]


def fitted(*needs: Resources, cpus: float, gpus: float = 0, num_jobs: int = 100) -> list[int]:
    steps: list[Step] = [Idle(name, need) for name, need in zip("abcdef", needs, strict=False)]
    return fit_pools(make_pools(steps, range(len(steps)), fuse=True), cpus=cpus, gpus=gpus, num_jobs=num_jobs)


def test_open_pools_fill_the_machine_in_turn() -> None:
    assert fitted(CPU, CPU2, cpus=8) == [4, 2] and fitted(CPU, cpus=8, num_jobs=3) == [3]
    assert fitted(CPU, GPU, cpus=10, gpus=4) == [6, 4]
    assert fitted(Resources(gpus=0.5), cpus=10, gpus=2) == [4]
    assert fitted(Resources(replicas=2), CPU2, cpus=8) == [2, 3]


@pytest.mark.parametrize(("needs", "words"), [
    ((Resources(cpus=4),), r"stage a wants 4 cpus and there are 2: lower its resources\.cpus"),
    ((CPU, CPU2), r"want 3 cpus together \(a 1 x 1, b 1 x 2\); there are 2"),
    ((GPU,), r"stage a wants 1 gpus and there are 0"),
    ((Resources(replicas=3),), r"want 3 cpus together \(a 3 x 1\)"),
])
def test_what_does_not_fit_is_named(needs: tuple[Resources, ...], words: str) -> None:
    with pytest.raises(EngineError, match=words):
        fitted(*needs, cpus=2)


class Doubler:
    """Doubles numbers; refuses batches with 13 (by an error) and batches above ``fits`` (by a MemoryError)."""

    def __init__(self, fits: int = 99) -> None:
        self.fits = fits
        self.sizes: list[int] = []

    def __call__(self, numbers: Sequence[int]) -> list[tuple[int, int, int]]:
        self.sizes.append(len(numbers))
        if len(numbers) > self.fits:
            raise MemoryError
        if 13 in numbers:
            raise ValueError("13\nis  unlucky")
        if 14 in numbers:
            raise UnitError("not 14")
        if 15 in numbers:
            raise ModelError("broken")
        return [(2 * n, place, len(numbers)) for place, n in enumerate(numbers)]


def test_every_unit_keeps_its_slot_whoever_is_missing_or_raises() -> None:
    full = Batch(Doubler()).run([1, 2, 3, 4])
    assert full == [(2, 0, 4), (4, 1, 4), (6, 2, 4), (8, 3, 4)]
    assert Batch(Doubler()).run([None, 2, None, 4]) == [None, full[1], None, full[3]]
    assert Batch(Doubler()).run([1, 13, 14, 4]) == [
        full[0], Refusal("ValueError: 13 is unlucky"), Refusal("not 14"), full[3]]
    assert Batch(Doubler()).run([None, None]) == [None, None]


def test_a_broken_model_is_not_a_unit_s_fault() -> None:
    with pytest.raises(ModelError):
        Batch(Doubler()).run([1, 15])
    with pytest.raises(ModelError, match="1 results for 2 requests"):
        Batch[int, int](lambda numbers: list(numbers)[:1]).run([1, 2])


def test_out_of_memory_halves_the_batch_and_is_remembered() -> None:
    doubler = Doubler(fits=2)
    batch = Batch(doubler)
    assert [r[0] for r in batch.run([1, 2, 3, 4, 5]) if isinstance(r, tuple)] == [2, 4, 6, 8, 10]
    assert doubler.sizes == [5, 3, 2, 2, 1] and batch.fits == 2
    batch.run([1, 2, 3])
    assert doubler.sizes[5:] == [2, 1]
    assert Batch(Doubler(fits=0)).run([1, 2]) == [Refusal("MemoryError"), Refusal("MemoryError")]


def test_the_gate_bounds_what_a_block_may_cost() -> None:
    gate = Gate(2)
    assert [gate.enter(0, "poison", paid=False) for _ in range(3)] == ["go", "go", "suspect"]
    assert gate.enter(1, "poison", paid=False) == "go"  # another pool, another count
    gate.leave("poison", done=False)
    assert gate.status().in_flight == 0


def test_the_gate_lets_only_paid_blocks_on_after_a_stop() -> None:
    gate = Gate(2)
    gate.enter(0, "a", paid=False)
    gate.stop()
    assert gate.enter(0, "b", paid=False) == "stop" and gate.enter(1, "a", paid=True) == "go"
    gate.leave("a", done=True)
    assert gate.status()[:2] == (0, 1)


def test_the_gate_closes_on_workers_that_die_while_loading() -> None:
    gate = Gate(2)
    assert [gate.begin_loading("w", "csd") for _ in range(LOADING_ATTEMPTS + 1)] == [True] * LOADING_ATTEMPTS + [False]
    assert "stage csd" in gate.status().fatal and gate.status().deaths == LOADING_ATTEMPTS
    healthy = Gate(2)
    for _ in range(9):
        assert healthy.begin_loading("w", "csd")
        healthy.end_loading("w")
    assert healthy.status().fatal == ""


def test_ray_is_joined_where_the_config_or_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert cluster_address(EngineConfig()) is None
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    assert cluster_address(EngineConfig()) == "head:6379"
    assert cluster_address(EngineConfig(address="auto")) == "auto"
    with pytest.raises(EngineError, match="ray job submit"):
        RaySession(EngineConfig(address="ray://head:10001"), gpus=0)
