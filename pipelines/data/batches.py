"""Batches as a function of their number: what a training sees in a step does not depend on how it got there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from curate.seeds import uniform
from pipelines.data.config import DataConfig
from pipelines.data.grouping import bucketed
from pipelines.data.transforms import prepare
from pipelines.data.triplets import Located, Triplet, TripletStream


@dataclass(frozen=True, slots=True)
class Batch:
    """B samples of equal shapes; images float32 in [-1, 1]. A dropped condition is only marked, its data are there; one
    that this training has not at all (see ``RolesConfig``) is None."""

    target: Tensor
    """(B, 3, H, W)"""
    content: Tensor | None
    """(B, 3, h, w)"""
    style: Tensor | None
    """(B, 3, style_px, style_px), not yet normalised for an encoder."""
    captions: list[str]
    drop_style: Tensor
    """bool (B,), as the next two."""
    drop_content: Tensor
    drop_text: Tensor
    keys: list[str]
    positions: list[int]
    """Global positions: see TripletStream."""

    def to(self, device: torch.device) -> Batch:
        """The same batch with its images on a device. What is dropped stays where the host can read it at once."""
        images = {name: getattr(self, name) for name in ("target", "content", "style")}
        return replace(self, **{name: image.to(device) for name, image in images.items() if image is not None})

    def rows(self, start: int, stop: int) -> Batch:
        """Some of the samples."""
        values: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: value[start:stop] for name, value in values.items() if value is not None})


def batches(stream: TripletStream, config: DataConfig, *, batch_size: int, start_batch: int = 0, every: int = 1,
            seed: int) -> Iterator[Batch]:
    """This reader's batches ``start_batch``, ``start_batch + every``, and so on without end. ``batch_size`` is that of
    one reader.

    Without buckets batch k is exactly the reader's samples k * B ... (k + 1) * B - 1, and beginning at it costs nothing
    but the shards it lies in. With buckets see ``bucketed`` for what a batch is and what resuming costs.
    """
    for group in groups(stream, config, batch_size=batch_size, start_batch=start_batch, every=every):
        yield collate([stream.decode(*located) for located in group], config, seed=seed)


def groups(stream: TripletStream, config: DataConfig, *, batch_size: int, start_batch: int, every: int,
           ) -> Iterator[list[Located]]:
    """The samples of these batches, with nothing decoded."""
    way = partial(bucketed, config=config) if config.buckets else _consecutive
    return islice(way(stream, batch_size=batch_size, start_batch=start_batch), 0, None, every)


def collate(group: Sequence[Triplet], config: DataConfig, *, seed: int) -> Batch:
    """The batch of some triplets of equal shapes, at least one."""
    samples = [prepare(triplet, config, seed=seed) for triplet in group]
    positions = [triplet.position for triplet in group]
    return Batch(
        target=torch.stack([sample.target for sample in samples]),
        content=_stack([sample.content for sample in samples]),
        style=_stack([sample.style for sample in samples]),
        captions=[triplet.caption for triplet in group],
        **dropped(positions, config, seed=seed),
        keys=[triplet.key for triplet in group], positions=positions)


def dropped(positions: Sequence[int], config: DataConfig, *, seed: int) -> dict[str, Tensor]:
    """drop_style, drop_content and drop_text of the samples at these positions: bool (B,) each."""
    return {f"drop_{what}": torch.tensor([uniform("drop", what, seed, position) < rate for position in positions])
            for what, rate in config.dropout.model_dump().items()}


def _stack(images: Sequence[Tensor | None]) -> Tensor | None:
    there = [image for image in images if image is not None]
    return torch.stack(there) if there else None


def _consecutive(stream: TripletStream, *, batch_size: int, start_batch: int) -> Iterator[list[Located]]:
    samples = stream.located(start_batch * batch_size)
    while True:
        yield list(islice(samples, batch_size))
