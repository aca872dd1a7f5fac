"""What goes into the loop: batches by number, and their losses, with the frozen encoders' work cached or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from curate.errors import ConfigError
from curate.train.config import TrainConfig
from pipelines.data import Batch, Readers, TripletStream, batches
from pipelines.training import Group
from pipelines.uso.cached import CachedBatch, Store, cached_batches, completed
from pipelines.uso.reward import RewardConfig
from pipelines.uso.rewarded import reward_rows
from pipelines.uso.training import UsoLosses


class PixelFeed:
    """Every step decodes its images and encodes them."""

    def __init__(self, config: TrainConfig, losses: UsoLosses, device: torch.device) -> None:
        stream, size = _share(config, losses.group)
        source = partial(batches, stream, config.data, batch_size=size, seed=config.seed)
        self.batches: Readers[Batch] = Readers(source, processes=config.readers)
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
        rows = partial(_rows_of_batch, config.reward, config.accumulate, losses.group.world)
        source = partial(cached_batches, stream, self.store, batch_size=size, seed=config.seed, rows=rows)
        self.batches: Readers[CachedBatch] = Readers(source, processes=config.readers)
        self.losses, self.device = losses, device

    def losses_of(self, batch: CachedBatch, step: int) -> Mapping[str, Tensor]:
        """Named losses of a batch at an optimiser step."""
        features = completed(batch, self.store, self.losses.encoders, self.device)
        styles = None if batch.styles is None else batch.styles.to(self.device)
        return self.losses.of(features, batch, step, styles=styles)


def _rows_of_batch(
    reward: RewardConfig | None, accumulate: int, members: int, number: int, drop_style: Tensor
) -> Sequence[int]:
    return reward_rows(reward, drop_style, number // accumulate, members=members)


def _share(config: TrainConfig, group: Group) -> tuple[TripletStream, int]:
    """This member's samples, and how many of each batch they are."""
    stream = TripletStream(config.data, seed=config.seed, rank=group.rank, world=group.world)
    return stream, config.batch // group.world
