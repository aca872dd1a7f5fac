"""Sample grids: what the model makes of the same few validation triplets as the training goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from PIL import Image

from curate.train.config import TrainConfig
from pipelines.data import Triplet, TripletStream
from pipelines.uso.pipeline import UsoPipeline

GAP_PX = 4


@dataclass(frozen=True)
class Samples:
    """Fixed triplets, and how pictures of them are drawn."""

    triplets: tuple[Triplet, ...]
    config: TrainConfig

    @classmethod
    def from_config(cls, config: TrainConfig) -> Samples:
        """The first triplets of the split that the config names."""
        if config.samples.count == 0:
            return cls((), config)
        data = config.data.model_copy(update={"split": config.samples.split, "shuffle_buffer": 1})
        return cls(tuple(islice(TripletStream(data, seed=0).iterate(), config.samples.count)), config)

    def draw(self, pipeline: UsoPipeline, out: Path, *, step: int) -> None:
        """Write `samples/step-NNNNNN.png`: a row a triplet; content, style, target, and what the model makes."""
        if not self.triplets:
            return
        with_content = self.config.stage != "style_alignment"
        made = pipeline(
            [each.caption for each in self.triplets],
            [each.content for each in self.triplets] if with_content else None,
            [each.style for each in self.triplets],
            num_inference_steps=self.config.samples.steps,
            guidance_scale=self.config.samples.guidance,
            generator=[torch.Generator().manual_seed(place) for place in range(len(self.triplets))],
        ).images
        rows = [
            (each.content, each.style, each.stylized, picture)
            for each, picture in zip(self.triplets, made, strict=True)
        ]
        folder = out / "samples"
        folder.mkdir(parents=True, exist_ok=True)
        grid(rows, side_px=self.config.data.size_px).save(folder / f"step-{step:06d}.png")


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
