"""``DiffusersExpert``: any diffusers pipeline (ours included) as a stylize or destylize expert.

How a request reaches the pipeline's ``__call__`` is data, not a subclass: ``images`` says which argument takes the
content and which the style image (two roles on one argument make a list, for multi-reference editors), ``prompts``
holds a template per verb and layout, ``arguments`` constant ones. Every name is checked against the call's signature
when the model loads, so a typo stops the run before the first image. What is known of a model stands in a preset.

Batches: with ``batched`` all units of a block go into one call, each with its own generator; editors that take one
set of references a call (Qwen-Image-Edit Plus, FLUX.2, IP-Adapters) say ``batched: false``.
"""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from curate.config import StageConfig
from curate.errors import ModelError
from curate.interfaces import Expert, ExpertRequest
from curate.models import model_hash, resolve_model
from pipelines.editors.options import (
    Component,
    ControlInput,
    ImageArguments,
    IpAdapter,
    Lora,
    Offload,
    Plain,
    Quantization,
    SizeRule,
    Speed,
    Weights,
)
from pipelines.editors.presets import with_preset
from pipelines.editors.prompts import PromptKey, check_templates, prompt_of

Dtype = Literal["float32", "float16", "bfloat16"]


class DiffusersExpert(StageConfig):
    """Config of one expert. ``preset: NAME`` takes the values of a preset, which the others override."""

    kind: Literal["diffusers"] = "diffusers"
    model: str
    """``zoo:NAME``, a folder written by save_pretrained, or a hub id."""
    revision: str | None = None
    """Of a hub id; a run replaces a branch or tag by the commit that it is."""
    licence: str = ""
    """Of the model, as its card says: goes into every triplet's provenance and the data card."""
    pipeline: str | None = None
    """Class of the pipeline where it is not the one that the model names (another of diffusers, or ``UsoPipeline``)."""
    settings: dict[str, Plain] = Field(default_factory=dict)
    """Values for the constructor of the pipeline: UsoPipeline's ``shift``, ``content_px``, ..."""
    variant: str | None = None
    """Of the weight files, as they are named on the hub: fp16."""
    dtype: Dtype = "float32"
    """Of the weights."""
    components: dict[str, Component | None] = Field(default_factory=dict)
    """Components that the model's folder does not have: a ControlNet, an image encoder; null takes one out again."""
    ip_adapter: IpAdapter | None = None
    loras: tuple[Lora, ...] = ()
    """Put on in this order and fused into the weights: a distilled one with few ``steps`` makes a model quick."""
    uso: Weights | None = None
    """A folder with USO's released dit_lora.safetensors and projector.safetensors."""
    pickles: tuple[str, ...] = ()
    """Weights that are pickles and may be opened, by name; see ``curate.pretrained``."""
    quantization: dict[str, Quantization] = Field(default_factory=dict)
    """By component: transformer, text_encoder, ..."""
    speed: Speed = Speed()
    offload: Offload = "none"
    """Keep the parts in main memory and move each to the GPU when it is used: for cards that do not hold all."""
    images: ImageArguments = ImageArguments()
    control: ControlInput | None = None
    prompts: dict[PromptKey, str] = Field(default_factory=dict)
    """Templates with ``{prompt}``; verbs without one pass the request's prompt as it is. ``stylize_words`` is for
    requests without a content image; the ones for shifted layouts are optional."""
    unnamed: str = ""
    """Stands for the prompt of a request that has none."""
    embeddings: tuple[str | None, ...] = ()
    """Arguments of the call that take what ``encode_prompt`` gives, in order: each prompt is then encoded once."""
    arguments: dict[str, Plain | tuple[Plain, ...] | None] = Field(default_factory=dict)
    """Constant arguments of the call: task, strength, true_cfg_scale, ...; null takes away what a preset says."""
    layout_argument: str | None = None
    """The call's argument that takes ``preserved`` or ``shifted`` (one each unit when batched), if it has one."""
    steps: int | None = Field(default=None, ge=1)
    """``num_inference_steps`` of the call; None: the pipeline's own."""
    guidance: float | None = None
    """``guidance_scale`` of the call; None: the pipeline's own."""
    width: int | None = Field(default=None, ge=8)
    """Pixels to draw at, handed to the call; None: the call is not told."""
    height: int | None = Field(default=None, ge=8)
    """As ``width``."""
    size: SizeRule | None = None
    """Draw at a size made from the reference's, instead of a fixed width and height."""
    batched: bool = True
    """All units of a block in one call; false for pipelines that take one set of references a call."""

    @model_validator(mode="before")
    @classmethod
    def _from_preset(cls, values: Any) -> Any:
        return with_preset(values) if isinstance(values, dict) else values

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        check_templates(self.prompts)
        if self.size is not None and (self.width or self.height):
            raise ValueError("size: give either a size rule, or width and height")
        return self

    def identity(self) -> dict[str, object]:
        """All values but where models lie, where they run and under which licence; a model counts by its content."""
        values = self.model_dump(mode="json", exclude={"resources", "model", "licence", "offload"})
        values["components"] = {name: part.identity() for name, part in self.components.items() if part}
        values["ip_adapter"] = self.ip_adapter and self.ip_adapter.identity()
        values["loras"] = [lora.identity() for lora in self.loras]
        values["uso"] = self.uso and self.uso.identity()
        return {**values, "model_hash": model_hash(self.model, self.revision)}

    def draws_px(self) -> tuple[int, int] | None:
        """(width, height) of every picture where it can draw no other size, as far as that is known without loading."""
        if self.size is not None:
            return None
        if self.width and self.height:
            return self.width, self.height
        index = Path(resolve_model(self.model), "model_index.json")
        if not index.is_file() or (self.pipeline or json.loads(index.read_text())["_class_name"]) != "RestylePipeline":
            return None
        from pipelines.compact.network import IMAGE_PX

        return IMAGE_PX, IMAGE_PX

    def prompt_for(self, request: ExpertRequest) -> str:
        """What the pipeline gets as its prompt: the request's words in the template that fits it best."""
        return prompt_of(request, self.prompts, self.unnamed)

    def load(self, device: str) -> Expert:
        """The pipeline on the device, ready to be called. ModelError where model and config do not fit."""
        from pipelines.editors.calls import EditorCall
        from pipelines.editors.loading import shared_pipeline

        pipeline = shared_pipeline(self, device)
        accepted = frozenset(inspect.signature(type(pipeline).__call__).parameters) - {"self"}
        return EditorCall(self, pipeline, accepted, _constants(self, accepted))


def _constants(config: DiffusersExpert, accepted: frozenset[str]) -> dict[str, Any]:
    """The arguments that are the same in every call; all argument names are checked here."""
    sized = {"num_inference_steps": config.steps, "guidance_scale": config.guidance,
             "width": config.width, "height": config.height}
    constants = {k: v for k, v in {**config.arguments, **sized}.items() if v is not None}
    named = [*constants, config.images.content, config.images.style, config.layout_argument, *config.embeddings]
    if config.control is not None:
        named.append(config.control.argument)
    if config.size is not None:
        named += ["width", "height", config.size.area_argument]
    unknown = sorted({name for name in named if name} - accepted)
    if unknown:
        raise ModelError(f"{config.model}: its call takes no argument {', '.join(unknown)}; "
                         f"it takes {', '.join(sorted(accepted))}")
    return constants
