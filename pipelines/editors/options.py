"""What a config or preset may say of an editing pipeline: weights beside it, image arguments, sizes, speed."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from curate.config import StrictModel
from curate.models import model_hash

Scale = float | dict[str, float | dict[str, float | tuple[float, ...]]]
Plain = str | int | float | bool


class Weights(StrictModel):
    """Where weights lie that are not part of the pipeline's own folder: a path or a hub id."""

    model: str
    revision: str | None = None
    subfolder: str | None = None

    def identity(self) -> dict[str, object]:
        """All values, the place replaced by a hash of what is there."""
        values = self.model_dump(mode="json", exclude={"model", "revision"})
        return {**values, "model_hash": model_hash(self.model, self.revision)}


class Component(StrictModel):
    """One component given by hand: of class ``type`` (diffusers, transformers or ours), with weights or without.

    ``init`` alone builds it new: for a module whose weights come from elsewhere (USO's projector).
    """

    type: str
    weights: Weights | None = None
    init: dict[str, Plain | tuple[Plain, ...]] | None = None

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.weights is None) == (self.init is None):
            raise ValueError("a component has either weights or init")
        return self

    def identity(self) -> dict[str, object]:
        """As ``Weights.identity``."""
        return {"type": self.type, "init": self.init, "weights": self.weights and self.weights.identity()}


class IpAdapter(Weights):
    """An IP-Adapter (arXiv 2308.06721): ``file`` in the subfolder, and how strongly it acts in which block.

    ``scale`` {up: {block_0: [0.0, 1.0, 0.0]}} is SDXL's style block alone (InstantStyle, arXiv 2404.02733).
    """

    subfolder: str = "sdxl_models"
    file: str
    scale: Scale = 1.0


class Lora(Weights):
    """A LoRA that diffusers' ``load_lora_weights`` of the pipeline reads: of a style, or one that saves steps."""

    file: str
    scale: float = 1.0


class ImageArguments(StrictModel):
    """The pipeline arguments that take the images; None = the pipeline does not get that image.

    Two roles on one argument: a ``list`` [content, style], or both pasted into one image ``side_by_side``.
    """

    content: str | None = "image"
    style: str | None = "style_image"
    together: Literal["list", "side_by_side"] = "list"


class ControlInput(StrictModel):
    """Lines of the content image for a ControlNet: the call's ``argument`` and how they are found."""

    argument: str = "image"
    detector: Literal["canny", "lineart"] = "canny"
    sigma: float = Field(default=1.5, gt=0)
    """Of the Gaussian that smooths before edges are looked for, in pixels of a 512 px image."""
    low: float = Field(default=0.1, ge=0, le=1)
    high: float = Field(default=0.2, ge=0, le=1)
    """Canny's thresholds on the Sobel gradient of a grey image in [0, 1]; by default OpenCV's usual 100 and 200."""


class SizeRule(StrictModel):
    """The size to draw at, from that of the reference; the result is resized back to the reference's size.

    Sides become multiples of ``multiple_of``, the shorter one at least ``min_px``. ``area_argument`` is the call's
    argument that takes width * height, if it has one.
    """

    multiple_of: int = Field(default=16, ge=1)
    min_px: int | None = Field(default=None, ge=8)
    area_argument: str | None = None

    def fit(self, size: tuple[int, int]) -> tuple[int, int]:
        """(width, height) to draw at for a reference of (width, height)."""
        grow = max(1.0, (self.min_px or 0) / min(size))
        width, height = (max(1, round(side * grow / self.multiple_of)) * self.multiple_of for side in size)
        return width, height


class Quantization(StrictModel):
    """How one component is quantised while it loads, by the library that diffusers and transformers share for it.

    torchao      options: {type: Int8WeightOnlyConfig, ...} a class of torchao.quantization and its arguments
    bitsandbytes options: {load_in_4bit: true, bnb_4bit_quant_type: nf4, ...} of BitsAndBytesConfig
    """

    method: Literal["torchao", "bitsandbytes"]
    options: dict[str, Plain | tuple[Plain, ...]]


class Speed(StrictModel):
    """What makes a pipeline faster or smaller and may move the last bits of its floats."""

    compile: Literal["off", "blocks", "whole"] = "off"
    """torch.compile of the denoiser: its repeated blocks (quick to compile) or all of it."""
    attention: str | None = None
    """A backend of diffusers' ``set_attention_backend``: flash, _flash_3, sage, _native_cudnn, ..."""
    vae_tiling: bool = False
    """Decode in tiles with blended seams: less memory, slightly other images."""


Offload = Literal["none", "model", "sequential"]
