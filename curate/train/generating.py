"""curate generate: pictures from a prompt, content and style images; the first thing one does after training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image

from curate.errors import ConfigError
from curate.files import write_atomic
from curate.images import encode
from curate.train.loading import load_uso
from pipelines.uso.official import load_official


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
) -> list[Path]:
    """Write one PNG for each seed, `out/seed-N.png`, and give back the paths.

    `uso` is a folder with the released files (dit_lora.safetensors, projector.safetensors), put on the base `model`.
    """
    pipeline = load_uso(model)
    if uso is not None:
        load_official(uso, transformer=pipeline.transformer, projector=pipeline.projector)
    pipeline.to("cuda" if torch.cuda.is_available() else "cpu")
    contents, styles = ([_open(path) for path in paths] for paths in (content, style))
    written = []
    for seed in seeds:
        (picture,) = pipeline(
            prompt,
            [contents],
            [styles],
            num_inference_steps=steps,
            generator=[torch.Generator().manual_seed(seed)],
        ).images
        path = out / f"seed-{seed}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, encode(picture))
        written.append(path)
    return written


def _open(path: Path) -> Image.Image:
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except OSError as error:
        raise ConfigError(f"not an image that can be read: {error}", file=path) from error
