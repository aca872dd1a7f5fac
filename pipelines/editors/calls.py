"""The loaded expert: requests in, PIL RGB images out, in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from PIL import Image as PilImage

from curate.errors import UnitError
from pipelines.editors.pictures import image_arguments, reference_size
from pipelines.editors.prompts import PromptEncoder

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

    from curate.interfaces import ExpertRequest
    from pipelines.diffusers_expert import DiffusersExpert


class EditorCall:
    """A pipeline with its config: ``constants`` in every call, ``accepted`` names of arguments."""

    def __init__(self, config: DiffusersExpert, pipeline: Any, accepted: frozenset[str],
                 constants: Mapping[str, Any]) -> None:
        self.config, self.pipeline, self.accepted, self.constants = config, pipeline, accepted, constants
        self.encoder = PromptEncoder(pipeline, config.embeddings, constants) if config.embeddings else None

    def __call__(self, requests: Sequence[ExpertRequest]) -> list[Image]:
        """One image a request. UnitError when the pipeline gives another number.

        Without ``batched`` each request is drawn by itself, and a repeat (the engine fills blocks with them) only once.
        """
        if self.config.batched:
            return [image for group in _groups(requests) for image in self._run(group)]
        drawn = {id(request): image for request in {id(each): each for each in requests}.values()
                 for image in self._run([request])}
        return [drawn[id(request)] for request in requests]

    def _run(self, requests: Sequence[ExpertRequest]) -> list[Image]:
        arguments = {**self.constants, **self._images(requests), **self._size(requests[0])}
        arguments.update(self._prompts(requests, arguments))
        if "generator" in self.accepted:
            arguments["generator"] = self._shape([_generator(r.seed) for r in requests])
        if self.config.layout_argument:
            arguments[self.config.layout_argument] = self._shape([r.layout for r in requests])
        images = list(self.pipeline(**arguments).images)
        if len(images) != len(requests):
            raise UnitError(f"{self.config.model} gave {len(images)} images for {len(requests)} requests")
        return [self._finished(image, request) for image, request in zip(images, requests, strict=True)]

    def _images(self, requests: Sequence[ExpertRequest]) -> dict[str, Any]:
        rows = [image_arguments(request, self.config.images, self.config.control) for request in requests]
        return {name: self._shape([row[name] for row in rows]) for name in rows[0]}

    def _prompts(self, requests: Sequence[ExpertRequest], arguments: dict[str, Any]) -> dict[str, Any]:
        """Prompts, or their embeddings and no prompts."""
        if "prompt" not in self.accepted:
            return {}
        prompts = [self.config.prompt_for(request) for request in requests]
        if self.encoder is None:
            return {"prompt": self._shape(prompts)}
        for name in self.encoder.replaced:
            arguments.pop(name, None)
        return self.encoder(prompts)

    def _size(self, request: ExpertRequest) -> dict[str, int]:
        rule, reference = self.config.size, reference_size(request)
        if rule is None or reference is None:
            return {}
        width, height = rule.fit(reference)
        area = {rule.area_argument: width * height} if rule.area_argument else {}
        return {"width": width, "height": height, **area}

    def _finished(self, image: Image, request: ExpertRequest) -> Image:
        size = reference_size(request)
        image = image.convert("RGB")
        if self.config.size is None or size is None or image.size == size:
            return image
        return image.resize(size, PilImage.Resampling.LANCZOS)

    def _shape(self, values: list[Any]) -> Any:
        return values if self.config.batched else values[0]


def _groups(requests: Sequence[ExpertRequest]) -> list[list[ExpertRequest]]:
    """Runs of neighbours that can share a call: those that bring the same images (content, style or both)."""
    groups: list[list[ExpertRequest]] = []
    for request in requests:
        if groups and _brings(groups[-1][0]) == _brings(request):
            groups[-1].append(request)
        else:
            groups.append([request])
    return groups


def _brings(request: ExpertRequest) -> tuple[object, ...]:
    """What must be equal in a call: which images there are, and the size that is drawn."""
    return request.content is not None, request.style is not None, reference_size(request)


def _generator(seed: int) -> torch.Generator:
    import torch

    return torch.Generator("cpu").manual_seed(seed)
