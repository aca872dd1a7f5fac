"""From a request's images to the image arguments of a call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from PIL import Image as PilImage

from pipelines.editors.control import control_image

if TYPE_CHECKING:
    from PIL.Image import Image

    from curate.interfaces import ExpertRequest
    from pipelines.editors.options import ControlInput, ImageArguments


def image_arguments(
    request: ExpertRequest, names: ImageArguments, control: ControlInput | None,
) -> dict[str, Image | list[Image]]:
    """Argument -> its image, or a list where two roles share it. What the request does not bring is left out."""
    given: dict[str, list[Image]] = {}
    for name, image in ((names.content, request.content), (names.style, request.style)):
        if name and image is not None:
            given.setdefault(name, []).append(image)
    if control is not None and request.content is not None:
        given.setdefault(control.argument, []).append(control_image(control, request.content))
    return {name: _together(images, names) for name, images in given.items()}


def _together(images: list[Image], names: ImageArguments) -> Any:
    if len(images) == 1:
        return images[0]
    return side_by_side(images) if names.together == "side_by_side" else images


def side_by_side(images: Sequence[Image]) -> Image:
    """One image, left to right, all at the height of the first."""
    height = images[0].height
    scaled = [image if image.height == height else image.resize((round(image.width * height / image.height), height),
                                                                PilImage.Resampling.LANCZOS) for image in images]
    canvas = PilImage.new("RGB", (sum(image.width for image in scaled), height))
    left = 0
    for image in scaled:
        canvas.paste(image, (left, 0))
        left += image.width
    return canvas


def reference_size(request: ExpertRequest) -> tuple[int, int] | None:
    """(width, height) that the result should have: the content's, else the style's."""
    image = request.content or request.style
    return None if image is None else image.size
