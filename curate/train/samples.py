"""Sample grids: what the model makes of the same few validation triplets as the training goes on."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Literal

import torch
from PIL import Image
from torch import Tensor

from curate.train.config import TrainConfig
from pipelines.data import DataConfig, Triplet, TripletStream
from pipelines.uso.pipeline import UsoPipeline

GAP_PX = 4


class Samples:
    """Fixed triplets, and how pictures of them are drawn."""

    def __init__(self, config: TrainConfig, triplets: Sequence[Triplet]) -> None:
        self.config, self.triplets = config, triplets

    @torch.no_grad()
    def make(self, pipeline: UsoPipeline) -> Tensor:
        """What the model makes of each: (B, 3, H, W) in [-1, 1], the same noise each time."""
        with_content = self.config.stage != "style_alignment"
        made: Tensor = pipeline(
            [each.caption for each in self.triplets],
            [each.content for each in self.triplets] if with_content else None,
            [each.style for each in self.triplets],
            num_inference_steps=self.config.samples.steps,
            guidance_scale=self.config.samples.guidance,
            generator=[torch.Generator().manual_seed(place) for place in range(len(self.triplets))],
            output_type="pt",
        ).images
        return made

    def sheet(self, pipeline: UsoPipeline) -> Image.Image:
        """A row a triplet: content, style, target, and what the model makes."""
        made = to_pictures(self.make(pipeline))
        rows = [
            (each.content, each.style, each.stylized, picture)
            for each, picture in zip(self.triplets, made, strict=True)
        ]
        return grid(rows, side_px=self.config.data.size_px)


def first_triplets(config: TrainConfig, split: Literal["train", "val"], count: int) -> list[Triplet]:
    """The first triplets of a split, fewer where it has fewer. Raises ConfigError if it has none."""
    if count == 0:
        return []
    stream = TripletStream(still(config.data, split), seed=0)
    return list(islice(stream.iterate(), min(count, stream.epoch_length)))


def still(data: DataConfig, split: Literal["train", "val"]) -> DataConfig:
    """The data of a split in an order and crops that stay as they are."""
    return data.model_copy(update={"split": split, "shuffle_buffer": 1, "crop": "centre"})


def to_pictures(images: Tensor) -> list[Image.Image]:
    """(B, 3, H, W) in [-1, 1] -> PIL."""
    levels = ((images.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return [Image.fromarray(each.permute(1, 2, 0).cpu().numpy()) for each in levels]


def grid(rows: Sequence[Sequence[Image.Image]], *, side_px: int) -> Image.Image:
    """Pictures in rows, each fitted into a square of `side_px`, on white."""
    pitch = side_px + GAP_PX
    sheet = Image.new("RGB", (pitch * len(rows[0]) - GAP_PX, pitch * len(rows) - GAP_PX), "white")
    for down, row in enumerate(rows):
        for right, picture in enumerate(row):
            fitted = picture.copy()
            fitted.thumbnail((side_px, side_px))
            sheet.paste(fitted, (right * pitch, down * pitch))
    return sheet
