"""Blocks: a few units that are made, scored and committed together, fixed by the plan."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from curate.records import Block, Unit
from curate.seeds import digest


def make_block(index: int, units: Iterable[Unit]) -> Block:
    """A block whose id hashes its unit ids in order: the same units are the same block in every run and engine."""
    members = tuple(units)
    if not members:
        raise ValueError("a block needs at least one unit")
    return Block(index=index, block_id=digest(*(unit.unit_id for unit in members)), units=members)


def make_blocks(units: Sequence[Unit], block_size: int) -> list[Block]:
    """Consecutive units, ``block_size`` to a block; the last may be smaller."""
    if block_size < 1:
        raise ValueError(f"block_size must be at least 1, not {block_size}")
    return [make_block(i, units[start:start + block_size]) for i, start in enumerate(range(0, len(units), block_size))]
