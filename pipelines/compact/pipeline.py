"""`RestylePipeline`: the compact stylize and destylize expert as a diffusers pipeline, one pass, no denoising.

It is called like a reference editing pipeline (images, style images, generators; PIL in, PIL out) and saved and
loaded like one, so that a config changes from this to a large editor by its model id alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
import torch
from diffusers import DiffusionPipeline, UNet2DModel
from diffusers.pipelines.pipeline_utils import ImagePipelineOutput
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from curate.images import from_unit_range
from pipelines.compact.layout import IDENTITY, draw_similarity, paper_of, transform
from pipelines.compact.network import IMAGE_PX, StyleEncoder, repaint

Task = Literal["stylize", "destylize"]
Layout = Literal["preserved", "shifted"]
Pictures: TypeAlias = Image.Image | Sequence[Image.Image] | Tensor
Generators: TypeAlias = torch.Generator | Sequence[torch.Generator]

TASKS: tuple[Task, ...] = ("stylize", "destylize")  # the index is the U-Net's timestep input


class RestylePipeline(DiffusionPipeline):  # type: ignore[misc]
    """Stylize: the content image drawn in the style of the reference. Destylize: a stylized image drawn
    plainly, over white."""

    model_cpu_offload_seq = "style_encoder->unet"

    def __init__(self, unet: UNet2DModel, style_encoder: StyleEncoder) -> None:
        super().__init__()
        self.register_modules(unet=unet, style_encoder=style_encoder)

    @torch.no_grad()
    def __call__(
        self,
        image: Pictures,
        style_image: Pictures | None = None,
        *,
        task: Task = "stylize",
        layout: Layout | Sequence[Layout] = "preserved",
        generator: Generators | None = None,
        prompt: str | Sequence[str] | None = None,
        output_type: Literal["pil", "pt"] = "pil",
    ) -> ImagePipelineOutput:
        """Make one 64 x 64 image for each of `image`.

        image        what to draw, or with `task="destylize"` what to undo: PIL or float (B, 3, H, W) in [-1, 1],
                     of any size
        style_image  the style reference, one for each image; destylize takes none
        layout       "shifted" (destylize only; stylize always keeps its content's layout): the result is mirrored,
                     scaled, turned and shifted by a transform drawn from that image's generator (see
                     `pipelines.compact.layout`)
        generator    one for each image, or one for all; needed for "shifted" alone, all else is deterministic
        prompt       accepted and unused: the content image says what to draw
        output_type  "pil" (RGB) or "pt" (float (B, 3, 64, 64) in [-1, 1])

        Raises ValueError for an unknown task, layout or output type, for a style image that is missing or too
        much, and for counts that disagree.
        """
        if task not in TASKS:
            raise ValueError(f"task {task!r} is not one of {', '.join(TASKS)}")
        if output_type not in ("pil", "pt"):
            raise ValueError(f"output_type {output_type!r} is not 'pil' or 'pt'")
        pictures = self._prepare(image)
        count = len(pictures)
        if task == "destylize":
            if style_image is not None:
                raise ValueError("destylize takes no style_image: the style to remove is read from the image")
            pictures = _move(pictures, _per_image(layout, count), generator)
            reference = pictures
        else:
            if style_image is None:
                raise ValueError("stylize needs a style_image for each image")
            reference = self._prepare(style_image)
            if len(reference) != count:
                raise ValueError(f"{count} images but {len(reference)} style images")
        steps = torch.full((count,), TASKS.index(task), device=pictures.device)
        drawn = repaint(self.unet, self.style_encoder, pictures, reference, steps).float()
        if output_type == "pt":
            return ImagePipelineOutput(images=drawn)
        return ImagePipelineOutput(images=from_unit_range(drawn.cpu().numpy()))

    def _prepare(self, pictures: Pictures) -> Tensor:
        """Any pictures -> (B, 3, 64, 64) in [-1, 1], on the pipeline's device and dtype."""
        if not isinstance(pictures, Tensor):
            pictures = from_pil([pictures] if isinstance(pictures, Image.Image) else pictures)
        if pictures.shape[-2:] != (IMAGE_PX, IMAGE_PX):
            pictures = F.interpolate(pictures.float(), (IMAGE_PX, IMAGE_PX), mode="bilinear", antialias=True)
        return pictures.to(self.device, self.unet.dtype)


def from_pil(pictures: Sequence[Image.Image]) -> Tensor:
    """PIL pictures of any mode and size -> float32 (B, 3, 64, 64) in [-1, 1]; transparency lies over white."""
    arrays = [
        np.asarray(_opaque(picture).resize((IMAGE_PX, IMAGE_PX), Image.Resampling.LANCZOS)) for picture in pictures
    ]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).float() / 127.5 - 1


def _opaque(picture: Image.Image) -> Image.Image:
    if picture.mode == "RGB":
        return picture
    with_alpha = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), with_alpha).convert("RGB")


def _per_image(layout: Layout | Sequence[Layout], count: int) -> list[str]:
    layouts: list[str] = [layout] * count if isinstance(layout, str) else list(layout)
    unknown = sorted(set(layouts) - {"preserved", "shifted"})
    if unknown:
        raise ValueError(f"layout {unknown[0]!r} is not 'preserved' or 'shifted'")
    if len(layouts) != count:
        raise ValueError(f"{count} images but {len(layouts)} layouts")
    return layouts


def _move(images: Tensor, layouts: list[str], generator: Generators | None) -> Tensor:
    """Apply each shifted image's own transform; preserved ones stay bit for bit."""
    if "shifted" not in layouts:
        return images
    if generator is None:
        raise ValueError("layout 'shifted' needs a generator: its transform is drawn from it")
    generators = [generator] * len(layouts) if isinstance(generator, torch.Generator) else list(generator)
    if len(generators) != len(layouts):
        raise ValueError(f"{len(layouts)} images but {len(generators)} generators")
    pairs = zip(layouts, generators, strict=True)
    similarities = [draw_similarity(each) if layout == "shifted" else IDENTITY for layout, each in pairs]
    places = [place for place, layout in enumerate(layouts) if layout == "shifted"]
    moved = images.clone()
    moved[places] = transform(images[places], [similarities[place] for place in places], paper_of(images[places]))
    return moved
