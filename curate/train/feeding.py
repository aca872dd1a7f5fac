"""What goes into the loop: batches by number, and their losses, with the frozen encoders' work cached or not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from curate.errors import ConfigError
from curate.train.config import TrainConfig
from pipelines.data import Batch, TripletStream, batches
from pipelines.training import Group
from pipelines.uso.cached import CachedBatch, Store, cached_batches, completed
from pipelines.uso.training import UsoLosses

Item = TypeVar("Item")


class PixelFeed:
    """Every step decodes its images and encodes them."""

    def __init__(self, config: TrainConfig, losses: UsoLosses, device: torch.device) -> None:
        stream, size = _share(config, losses.group)
        self.batch_at: Callable[[int], Batch] = in_order(
            lambda start: batches(stream, config.data, batch_size=size, start_batch=start, seed=config.seed)
        )
        self.losses, self.device = losses, device

    def losses_of(self, batch: Batch, step: int) -> Mapping[str, Tensor]:
        """Named losses of a batch at an optimiser step."""
        return self.losses(batch.to(self.device), step)


class CachedFeed:
    """Features are read from `config.cache`; what it lacks is encoded once and kept."""

    def __init__(self, config: TrainConfig, losses: UsoLosses, device: torch.device) -> None:
        assert config.cache is not None
        if config.data.crop != "centre":
            raise ConfigError("features are kept of fixed crops only; use data.crop: centre, or no cache", key="cache")
        stream, size = _share(config, losses.group)
        self.store = Store(Path(config.cache), losses.encoders, config.data)

        def rows(number: int, drop_style: Tensor) -> Sequence[int]:
            return losses.reward_rows(drop_style, number // config.accumulate)

        self.batch_at: Callable[[int], CachedBatch] = in_order(
            lambda start: cached_batches(
                stream, self.store, batch_size=size, start_batch=start, seed=config.seed, rows=rows
            )
        )
        self.losses, self.device = losses, device

    def losses_of(self, batch: CachedBatch, step: int) -> Mapping[str, Tensor]:
        """Named losses of a batch at an optimiser step."""
        features = completed(batch, self.store, self.losses.encoders, self.device)
        styles = None if batch.styles is None else batch.styles.to(self.device)
        return self.losses.of(features, batch, step, styles=styles)


def _share(config: TrainConfig, group: Group) -> tuple[TripletStream, int]:
    """This member's samples, and how many of each batch they are."""
    stream = TripletStream(config.data, seed=config.seed, rank=group.rank, world=group.world)
    return stream, config.batch // group.world


def in_order(begin: Callable[[int], Iterator[Item]]) -> Callable[[int], Item]:
    """Items by number. They are read as one stream that begins at the first number asked for."""
    running: Iterator[Item] | None = None
    expected = -1

    def item_at(number: int) -> Item:
        nonlocal running, expected
        if running is None or number != expected:
            running = begin(number)
        expected = number + 1
        return next(running)

    return item_at
