"""Sample grids: what the model makes of the same few validation triplets as the training goes on."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Literal

import torch
from PIL import Image
from torch import Tensor

from curate.errors import ConfigError
from curate.train.config import TrainConfig
from pipelines.data import DataConfig, Triplet, TripletStream
from pipelines.data.transforms import cut_pictures
from pipelines.uso.pipeline import UsoPipeline
from pipelines.uso.portions import portions

GAP_PX = 4


class Samples:
    """Fixed triplets, cut as the training cuts them, and how pictures of them are drawn."""

    def __init__(self, config: TrainConfig, triplets: Sequence[Triplet]) -> None:
        self.config = config
        self.captions = [each.caption for each in triplets]
        data = config.data.model_copy(update={"crop": "centre"})
        self.pictures = [cut_pictures(each, data, seed=0) for each in triplets]

    @torch.no_grad()
    def make(self, pipeline: UsoPipeline) -> list[Tensor]:
        """What the model makes of each, at the size of its target: (3, H, W) in [-1, 1], the same noise each time."""
        made: dict[int, Tensor] = {}
        sizes = [tuple(picture.size for picture in each if picture is not None) for each in self.pictures]
        for rows in portions(sizes):
            some = [self.pictures[row] for row in rows]
            width, height = some[0].target.size
            images = pipeline(
                [self.captions[row] for row in rows],
                None if self.config.stage == "style_alignment" else [each.content for each in some],
                [each.style for each in some],
                height=height,
                width=width,
                num_inference_steps=self.config.samples.steps,
                guidance_scale=self.config.samples.guidance,
                generator=[torch.Generator().manual_seed(row) for row in rows],
                output_type="pt",
            ).images
            made |= zip(rows, images, strict=True)
        return [made[place] for place in range(len(self.pictures))]

    def sheet(self, pipeline: UsoPipeline) -> Image.Image:
        """A row a triplet: content and style, as far as the training has them, target, and what the model makes."""
        made = to_pictures(self.make(pipeline))
        rows = [
            [shown for shown in (each.content, each.style, each.target, picture) if shown is not None]
            for each, picture in zip(self.pictures, made, strict=True)
        ]
        return grid(rows, side_px=self.config.data.size_px)


def first_triplets(config: TrainConfig, split: Literal["train", "val"], count: int) -> list[Triplet]:
    """The first triplets of a split, fewer where it has fewer. Raises ConfigError if it has none."""
    if count == 0:
        return []
    try:
        stream = TripletStream(still(config.data, split), seed=0)
    except ConfigError as error:
        if error.key == "split" and split == "val":
            raise ConfigError(f"{error}; these are for `samples` and `validation`: set their `split: train`, or take "
                              "`samples.count: 0` and no validation") from error
        raise
    return list(islice(stream.iterate(), min(count, stream.epoch_length)))


def still(data: DataConfig, split: Literal["train", "val"]) -> DataConfig:
    """The data of a split in an order and crops that stay as they are."""
    return data.model_copy(update={"split": split, "shuffle_buffer": 1, "crop": "centre"})


def to_pictures(images: Sequence[Tensor]) -> list[Image.Image]:
    """(3, H, W) in [-1, 1], each of its own size -> PIL."""
    levels = [((image.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8) for image in images]
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
