"""``DiffusersExpert``: any diffusers pipeline (ours included) as a stylize or destylize expert.

How a request reaches the pipeline's ``__call__`` is data, not a subclass: ``images`` says which argument takes the
content and which the style image (two roles on one argument make a list, for multi-reference editors), ``prompts``
holds a template per verb and layout, ``arguments`` constant ones. Every name is checked against the call's signature
when the model loads, so a typo stops the run before the first image.

Batches: with ``batched`` all units of a block go into one call, each with its own generator; editors that take one
set of references a call (Qwen-Image-Edit Plus, FLUX.2) say ``batched: false``.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from curate.config import StageConfig, StrictModel
from curate.errors import ModelError, UnitError
from curate.interfaces import Expert, ExpertRequest, Verb
from curate.models import model_hash, resolve_model
from pipelines import OWN_PIPELINES, load_symbol

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

PromptKey = Literal["stylize", "destylize", "destylize_shifted"]
Dtype = Literal["float32", "float16", "bfloat16"]


class ImageArguments(StrictModel):
    """The pipeline arguments that take the images; None = the pipeline does not get that image."""

    content: str | None = "image"
    style: str | None = "style_image"


class DiffusersExpert(StageConfig):
    """Config of one expert."""

    kind: Literal["diffusers"] = "diffusers"
    model: str
    """``zoo:NAME``, a folder written by save_pretrained, or a hub id."""
    revision: str | None = None
    dtype: Dtype = "float32"
    images: ImageArguments = ImageArguments()
    prompts: dict[PromptKey, str] = Field(default_factory=dict)
    """Templates with ``{prompt}``; verbs without one pass the request's prompt as it is."""
    arguments: dict[str, str | int | float | bool] = Field(default_factory=dict)
    """Constant arguments of the call: task, strength, true_cfg_scale, ..."""
    layout_argument: str | None = None
    """The call's argument that takes ``preserved`` or ``shifted`` (one each unit when batched), if it has one."""
    steps: int | None = Field(default=None, ge=1)
    guidance: float | None = None
    width: int | None = Field(default=None, ge=8)
    height: int | None = Field(default=None, ge=8)
    batched: bool = True

    def identity(self) -> dict[str, object]:
        """All values but where the model lies and where it runs; the model counts by its content hash."""
        values = self.model_dump(mode="json", exclude={"resources", "model"})
        return {**values, "model_hash": model_hash(self.model, self.revision)}

    def load(self, device: str) -> Expert:
        pipeline = _load_pipeline(self, device)
        accepted = frozenset(inspect.signature(type(pipeline).__call__).parameters) - {"self"}
        constants = _constants(self, accepted)
        return _Call(self, pipeline, accepted, constants)


def _load_pipeline(config: DiffusersExpert, device: str) -> Any:
    import torch
    from diffusers import DiffusionPipeline
    from diffusers.utils import logging

    logging.disable_progress_bar()
    path = resolve_model(config.model)
    cls: Any = DiffusionPipeline
    index = Path(path) / "model_index.json"
    if index.is_file():
        own = OWN_PIPELINES.get(json.loads(index.read_text())["_class_name"])
        cls = load_symbol(own) if own else cls
    try:
        pipeline = cls.from_pretrained(path, revision=config.revision, dtype=getattr(torch, config.dtype))
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{config.model}: not a diffusers pipeline that can be loaded: {error}") from error
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device)


def _constants(config: DiffusersExpert, accepted: frozenset[str]) -> dict[str, Any]:
    """The arguments that are the same in every call; all argument names are checked here."""
    sized = {"num_inference_steps": config.steps, "guidance_scale": config.guidance,
             "width": config.width, "height": config.height}
    constants = {**config.arguments, **{k: v for k, v in sized.items() if v is not None}}
    named = [*constants, *(n for n in (config.images.content, config.images.style, config.layout_argument) if n)]
    unknown = sorted(set(named) - accepted)
    if unknown:
        raise ModelError(f"{config.model}: its call takes no argument {', '.join(unknown)}; "
                         f"it takes {', '.join(sorted(accepted))}")
    return constants


class _Call:
    """The loaded expert: requests in, PIL RGB images out, in order."""

    def __init__(self, config: DiffusersExpert, pipeline: Any, accepted: frozenset[str],
                 constants: dict[str, Any]) -> None:
        self.config, self.pipeline, self.accepted, self.constants = config, pipeline, accepted, constants

    def __call__(self, requests: Sequence[ExpertRequest]) -> list[Image]:
        if self.config.batched:
            return [image for group in _groups(requests) for image in self._run(group)]
        return [self._run([request])[0] for request in requests]

    def _run(self, requests: Sequence[ExpertRequest]) -> list[Image]:
        arguments = dict(self.constants)
        arguments.update(self._images(requests))
        if "prompt" in self.accepted:
            arguments["prompt"] = self._shape([_prompt(self.config, r) for r in requests])
        if "generator" in self.accepted:
            arguments["generator"] = self._shape([_generator(r.seed) for r in requests])
        if self.config.layout_argument:
            arguments[self.config.layout_argument] = self._shape([r.layout for r in requests])
        images = list(self.pipeline(**arguments).images)
        if len(images) != len(requests):
            raise UnitError(f"{self.config.model} gave {len(images)} images for {len(requests)} requests")
        return [image.convert("RGB") for image in images]

    def _images(self, requests: Sequence[ExpertRequest]) -> dict[str, Any]:
        names = self.config.images
        given: dict[str, list[list[Image]]] = {}
        for name, pick in ((names.content, _content), (names.style, _style)):
            column = [pick(r) for r in requests]
            if name and column[0] is not None:
                given.setdefault(name, [[] for _ in requests])
                for images, image in zip(given[name], column, strict=True):
                    assert image is not None
                    images.append(image)
        return {name: self._shape([i[0] if len(i) == 1 else i for i in images]) for name, images in given.items()}

    def _shape(self, values: list[Any]) -> Any:
        return values if self.config.batched else values[0]


def _content(request: ExpertRequest) -> Image | None:
    return request.content


def _style(request: ExpertRequest) -> Image | None:
    return request.style


def _groups(requests: Sequence[ExpertRequest]) -> list[list[ExpertRequest]]:
    """Runs of neighbours that can share a call: those that bring the same images (content, style or both)."""
    groups: list[list[ExpertRequest]] = []
    for request in requests:
        if groups and _brings(groups[-1][0]) == _brings(request):
            groups[-1].append(request)
        else:
            groups.append([request])
    return groups


def _brings(request: ExpertRequest) -> tuple[bool, bool]:
    return request.content is not None, request.style is not None


def _prompt(config: DiffusersExpert, request: ExpertRequest) -> str:
    verb: Verb = request.verb
    key: PromptKey = "destylize_shifted" if verb == "destylize" and request.layout == "shifted" else verb
    template = config.prompts.get(key, config.prompts.get(verb))
    return request.prompt if template is None else template.format(prompt=request.prompt)


def _generator(seed: int) -> torch.Generator:
    import torch

    return torch.Generator("cpu").manual_seed(seed)
