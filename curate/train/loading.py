"""The parts that a training config names: pipeline, device, reward; frozen weights in the precision asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

from curate.errors import ConfigError, ModelError
from curate.models import resolve_model
from curate.train.config import TrainConfig
from filters.csd_reward import CsdReward
from filters.csd_weights import load_csd
from pipelines.diffusers_expert import DiffusersExpert
from pipelines.editors.loading import load_pipeline, place_of
from pipelines.uso.official import add_lora, load_official
from pipelines.uso.pipeline import StyleEncoding, UsoPipeline
from pipelines.uso.projector import ProjectorKind, StyleProjector
from pipelines.uso.training import freeze_all_but


def load_uso(model: str, dtype: torch.dtype | dict[str, torch.dtype] = torch.float32) -> UsoPipeline:
    """A `UsoPipeline` by folder, `zoo:NAME` or hub id; `dtype` may be given by component, and "default"."""
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    try:
        pipeline: UsoPipeline = UsoPipeline.from_pretrained(place_of(model), dtype=dtype)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{model}: not a USO pipeline that can be loaded: {error}") from error
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def assembled(base: DiffusersExpert, dtype: Literal["float32", "bfloat16"]) -> UsoPipeline:
    """A `UsoPipeline` of the parts that an expert's config names, all in `dtype`; parts with `init` are new."""
    pipeline = load_pipeline(base.model_copy(update={"dtype": dtype}), "cpu")
    if not isinstance(pipeline, UsoPipeline):
        raise ConfigError(f"{base.model} is a {type(pipeline).__name__}; say pipeline: UsoPipeline", key="base")
    return pipeline


def load_trainee(config: TrainConfig, device: torch.device) -> UsoPipeline:
    """The base, ready to train: what the stage trains requires gradients and is float32; LoRA layers are put on.

    Frozen weights have `config.frozen_dtype`. Raises ConfigError for a base that this training could not be written of,
    ModelError for one that cannot be loaded, and for released files that do not fit it.
    """
    with_style = config.data.roles.style is not None
    learns = ["projector"] if config.stage != "disentanglement" and with_style else []
    learns += ["transformer"] if config.learn == "full" and config.stage != "style_alignment" else []
    frozen = getattr(torch, config.frozen_dtype)
    torch.manual_seed(config.seed)  # a new projector is the same in every process
    if isinstance(config.base, str):
        pipeline = load_uso(config.base, {"default": frozen, **dict.fromkeys(learns, torch.float32)})
    else:
        pipeline = assembled(config.base, config.frozen_dtype)
    change_style_path(pipeline, config.projector, config.style_encoding)
    _check_styles(pipeline, config)
    _take_sizes(pipeline, config)
    pipeline.to(device)
    if learns_lora(config):
        _check_released(pipeline)
        if config.uso is not None:
            load_official(
                Path(config.uso),
                transformer=pipeline.transformer,
                projector=pipeline.projector,
                lora_dtype=torch.float32,  # it learns on: bfloat16 between would round what was learnt
            )
        else:
            torch.manual_seed(config.seed)
            add_lora(pipeline.transformer, rank=config.lora_rank)
    freeze_all_but(pipeline, config.stage, with_style=with_style)
    for parameter in pipeline.denoiser.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    if config.gradient_checkpointing:
        pipeline.transformer.enable_gradient_checkpointing()
    return pipeline


def change_style_path(
    pipeline: UsoPipeline, projector: ProjectorKind | Literal["none"] | None, encoding: StyleEncoding | None
) -> None:
    """Give a pipeline another style projector, or none, and another style encoding; None leaves what it has.

    A new projector has as many style tokens as the old one and is drawn from seed 0 whatever else is drawn, so that
    trainings that are compared begin alike. Raises ConfigError where there is none to take sizes from.
    """
    if encoding is not None:
        pipeline.register_to_config(style_encoding=encoding)
    if projector == "none":
        pipeline.register_modules(projector=None, vision_encoder=None, vision_processor=None)
    elif projector is not None and (old := pipeline.projector) is None:
        raise ConfigError("the base has no projector from which another could take its sizes", key="projector")
    elif projector is not None and projector != old.config.kind:
        kept = {name: value for name, value in old.config.items() if not name.startswith("_")}
        with torch.random.fork_rng():
            torch.manual_seed(0)
            new = StyleProjector(**{**kept, "kind": projector, "tokens_per_level": _tokens_per_level(projector, old)})
        pipeline.register_modules(projector=new.to(old.dtype))


def _tokens_per_level(projector: ProjectorKind, old: StyleProjector) -> int:
    """As many style tokens as before: the hierarchical kind has them from all levels, the others from one."""
    return old.num_tokens // len(old.config.levels) if projector == "hierarchical" else old.num_tokens


def _take_sizes(pipeline: UsoPipeline, config: TrainConfig) -> None:
    """Pictures are asked of the model, now and later, at the sizes at which it learns."""
    pipeline.register_to_config(size_px=config.data.size_px)
    if config.data.roles.content is not None:
        pipeline.register_to_config(content_px=config.data.content_size_px)


def _check_styles(pipeline: UsoPipeline, config: TrainConfig) -> None:
    shared = pipeline.config.style_encoding == "vae"
    if shared and pipeline.projector is not None:
        raise ConfigError("a shared encoder takes no projector: set projector: none beside it", key="style_encoding")
    side = config.data.content_size_px or config.data.size_px
    if shared and config.data.roles.style is not None and config.data.style_px != side:
        raise ConfigError(
            f"a shared encoder sees style images at the size of contents, {side}, and not {config.data.style_px} px; "
            f"set it to {side}",
            key="data.style_px",
        )
    if not shared and pipeline.projector is None and config.data.roles.style is not None:
        raise ConfigError(
            "without a projector style images have no way in: set style_encoding: vae, or data.roles.style: null",
            key="projector",
        )


def learns_lora(config: TrainConfig) -> bool:
    """Whether LoRA layers learn, and not the transformer's own weights."""
    return config.learn == "lora" and config.stage != "style_alignment"


def load_reward(config: TrainConfig, device: torch.device) -> CsdReward:
    """CSD, frozen."""
    return CsdReward(load_csd(Path(resolve_model(config.reward_model))).to(device))


def device_of(config: TrainConfig) -> torch.device:
    """Raises ConfigError where a GPU is asked for and there is none."""
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("cuda is asked for, and torch sees no GPU here; use auto or cpu", key="device")
    found = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(found if config.device == "auto" else config.device)


def _check_released(pipeline: UsoPipeline) -> None:
    """Refuse before the first step what could not be written after it."""
    if pipeline.projector is None or pipeline.projector.config.kind != "hierarchical":
        raise ConfigError(
            "LoRA layers are written as USO's released files, which hold a hierarchical projector, and this base has "
            "none; use learn: full",
            key="learn",
        )
