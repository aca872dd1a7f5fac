"""curate generate: pictures from a prompt, content and style images; the first thing one does after training."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image

from curate.errors import ConfigError
from curate.files import write_atomic
from curate.images import encode
from curate.train.loading import load_uso
from pipelines.data.transforms import Size, bucket_of
from pipelines.uso.official import load_official
from pipelines.uso.pipeline import UsoPipeline
from pipelines.uso.tokens import PATCH


def generate(
    model: str,
    out: Path,
    *,
    uso: Path | None,
    prompt: str,
    content: Sequence[Path],
    style: Sequence[Path],
    seeds: Sequence[int],
    steps: int,
    guidance: float,
    size: str | None,
) -> list[Path]:
    """Write one PNG for each seed, `out/seed-N.png`, and give back the paths.

    uso   folder with the released files (dit_lora.safetensors, projector.safetensors), put on the base `model`
    size  "WxH" in px; None: the shape of the first content image at the model's own area, without one its own square

    Weights are bfloat16 on a GPU, as FLUX.1 dev's are published, and float32 on a CPU. Raises ConfigError for a size
    that the model cannot draw and an image that cannot be read.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    contents, styles = ([_open(path) for path in paths] for paths in (content, style))
    pipeline = load_uso(model, dtype_on(device))
    height, width = _size(pipeline, size, contents)
    if uso is not None:
        load_official(uso, transformer=pipeline.transformer, projector=pipeline.projector)
    pipeline.to(device)
    written = []
    for seed in seeds:
        (picture,) = pipeline(
            prompt,
            [contents],
            [styles],
            height=height,
            width=width,
            num_inference_steps=steps,
            guidance_scale=guidance,
            generator=[torch.Generator().manual_seed(seed)],
        ).images
        path = out / f"seed-{seed}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, encode(picture))
        written.append(path)
    return written


def dtype_on(device: str) -> torch.dtype:
    """Of all weights: FLUX.1 dev is 24 GB in bfloat16; CPUs are slow at it."""
    return torch.bfloat16 if device == "cuda" else torch.float32


def _size(pipeline: UsoPipeline, asked: str | None, contents: Sequence[Image.Image]) -> Size:
    own = int(pipeline.config.size_px)
    if asked is None:
        return bucket_of(*contents[0].size, own) if contents else Size(own, own)
    found = re.fullmatch(r"(\d+)x(\d+)", asked)
    if found is None:
        raise ConfigError(f"--size takes WIDTHxHEIGHT in px, as 1024x768, not {asked!r}")
    width, height = int(found[1]), int(found[2])
    step = PATCH * pipeline.vae_factor
    if width % step or height % step or not width * height:
        near = "x".join(str(max(1, round(side / step)) * step) for side in (width, height))
        raise ConfigError(f"--size {asked}: sides must be multiples of {step} px for this model; the nearest is {near}")
    return Size(height, width)


def _open(path: Path) -> Image.Image:
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except OSError as error:
        raise ConfigError(f"not an image that can be read: {error}", file=path) from error
