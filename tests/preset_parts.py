"""Every preset at toy size: its models built and saved, and what a config must say over the preset to use them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from curate.config import parse
from curate.interfaces import ExpertRequest, Layout, Verb
from pipelines.diffusers_expert import DiffusersExpert
from pipelines.uso.official import add_lora, save_official
from tests import tiny_editors as tiny
from tests.tiny_uso import tiny_projector, tiny_transformer

PX = 64
Values = dict[str, Any]
SMALL: Values = {"dtype": "float32", "steps": 2}


def klein(folder: Path) -> Values:
    return {**SMALL, "model": str(tiny.save_flux2_klein(folder / "klein")), "arguments": {"max_sequence_length": 128}}


def dev(folder: Path) -> Values:
    return {**SMALL, "model": str(tiny.save_flux2_dev(folder / "dev"))}


def qwen(folder: Path) -> Values:
    return {**SMALL, "model": str(tiny.save_qwen_edit(folder / "qwen"))}


def kontext(folder: Path) -> Values:
    return {**SMALL, "model": str(tiny.save_flux_kontext(folder / "kontext")), "size": {"min_px": None},
            "arguments": {"_auto_resize": False}}  # else every reference becomes one megapixel


def sdxl(folder: Path) -> Values:
    base = tiny.save_sdxl(folder / "sdxl")
    adapter = tiny.save_ip_adapter(folder / "ip", base)
    encoder = {"weights": {"model": str(adapter)}}
    return {**_sdxl(folder, base), "ip_adapter": {"model": str(adapter)},
            "components": {"image_encoder": encoder, "controlnet": _controlnet(folder)}}


def sdxl_destylize(folder: Path) -> Values:
    return {**_sdxl(folder, tiny.save_sdxl(folder / "sdxl")), "components": {"controlnet": _controlnet(folder)}}


def _sdxl(folder: Path, base: Path) -> Values:
    return {**SMALL, "model": str(base), "variant": None, "size": {"min_px": None, "multiple_of": 8}}


def _controlnet(folder: Path) -> Values:
    return {"weights": {"model": str(tiny.save_controlnet(folder / "controlnet"))}}


def uso(folder: Path) -> Values:
    released = folder / "released"
    torch.manual_seed(3)
    transformer = tiny_transformer()
    add_lora(transformer, rank=2)
    with torch.no_grad():
        for name, parameter in transformer.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.2)
    save_official(released, transformer=transformer, projector=tiny_projector())
    siglip = {"weights": {"model": str(tiny.save_siglip(folder / "siglip"))}}
    projector = dict(tiny_projector().config)
    return {**SMALL, "model": str(tiny.save_flux_dev(folder / "flux")), "size": {"min_px": None},
            "settings": {"content_px": PX, "max_text_tokens": 128},
            "uso": {"model": str(released), "subfolder": None},
            "components": {
                "vision_encoder": siglip, "vision_processor": siglip,
                "projector": {"init": {name: value for name, value in projector.items() if not name.startswith("_")}}}}


PRESETS: dict[str, Callable[[Path], Values]] = {
    "flux2-klein": klein, "flux2-dev": dev, "qwen-image-edit": qwen, "flux1-kontext": kontext, "sdxl-ip-adapter": sdxl,
    "sdxl-destylize": sdxl_destylize, "uso": uso}
PIPELINES = {
    "flux2-klein": "Flux2KleinPipeline", "flux2-dev": "Flux2Pipeline", "qwen-image-edit": "QwenImageEditPlusPipeline",
    "flux1-kontext": "FluxKontextPipeline", "sdxl-ip-adapter": "StableDiffusionXLControlNetPipeline",
    "sdxl-destylize": "StableDiffusionXLControlNetImg2ImgPipeline", "uso": "UsoPipeline"}
"""The class that each preset must end in."""


def expert_of(preset: str, values: Values, **changes: Any) -> DiffusersExpert:
    """The preset with ``values`` over it, read as a run config is read."""
    return parse(DiffusersExpert, {"preset": preset, **values, **changes})


def picture(seed: int) -> Image.Image:
    """A shape on paper, so that there are edges, and some noise."""
    rng = np.random.default_rng(seed)
    pixels = np.full((PX, PX, 3), rng.integers(0, 255, 3), np.uint8)
    top, left = rng.integers(4, PX // 3, 2)
    pixels[top:top + PX // 2, left:left + PX // 2] = rng.integers(0, 255, 3)
    pixels[::7] = np.uint8(rng.integers(0, 255, 3))
    return Image.fromarray(pixels)


def request(verb: Verb = "stylize", content: int | None = 1, style: int | None = 2, prompt: str = "a red cat",
            seed: int = 5, layout: Layout = "preserved") -> ExpertRequest:
    return ExpertRequest(verb, None if content is None else picture(content),
                         None if style is None else picture(style), prompt, layout, seed)
