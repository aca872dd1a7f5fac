"""A diffusers pipeline as a config describes it, loaded safely and at most once a process.

Safety: safetensors only, unless the config names the pickles it allows (torch opens those with weights_only); no
code from the hub; revisions as pinned in the plan. Tokens (HF_TOKEN) and offline mode are huggingface_hub's business.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from curate.errors import ModelError
from curate.models import HUB_ID, resolve_model
from curate.pretrained import safetensors_only
from pipelines import OWN_PIPELINES, load_symbol
from pipelines.editors.options import IpAdapter, Lora
from pipelines.editors.quantized import quantization_config

if TYPE_CHECKING:
    from pipelines.diffusers_expert import DiffusersExpert
    from pipelines.editors.options import Component, Weights

OWN_COMPONENTS = {"StyleProjector": "pipelines.uso.projector:StyleProjector"}
INDEX = "model_index.json"
LOADED: WeakValueDictionary[str, Any] = WeakValueDictionary()
"""Pipelines that an expert of this process still holds: stylize and destylize by one model load it once."""
LOADING_FIELDS = ("model", "revision", "pipeline", "settings", "variant", "dtype", "components", "ip_adapter", "loras",
                  "uso", "quantization", "speed", "offload", "pickles")
"""Fields of the expert that determine the loaded pipeline."""


def shared_pipeline(config: DiffusersExpert, device: str) -> Any:
    """The pipeline of the config on the device, or the one that was loaded for an equal config. ModelError if not."""
    key = loading_key(config, device)
    pipeline = LOADED.get(key)
    if pipeline is None:
        pipeline = LOADED[key] = load_pipeline(config, device)
    return pipeline


def loading_key(config: DiffusersExpert, device: str) -> str:
    """Under which a pipeline stands in ``LOADED``."""
    return json.dumps([device, config.model_dump(mode="json", include=set(LOADING_FIELDS))], sort_keys=True)


def load_pipeline(config: DiffusersExpert, device: str) -> Any:
    """See the module."""
    import torch
    from diffusers.utils import logging
    from transformers.utils import logging as transformers_logging

    logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    path = place_of(config.model)
    options = {"revision": config.revision, "dtype": getattr(torch, config.dtype), "trust_remote_code": False,
               "use_safetensors": safetensors_only(path, config.pickles)}
    try:
        index = index_of(path, config.revision)
        cls = _pipeline_class(config.pipeline or str(index["_class_name"]))
        if config.quantization:
            options["quantization_config"] = quantization_config(config.quantization, index)
        parts = {name: _component(part, config) for name, part in config.components.items() if part}
        _check_names(cls, {**config.settings, **parts})
        pipeline = cls.from_pretrained(path, variant=config.variant, **options, **config.settings, **parts)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        raise ModelError(f"{config.model}: not a diffusers pipeline that can be loaded: {error}") from error
    _add_adapters(pipeline, config)
    pipeline.set_progress_bar_config(disable=True)
    _place(pipeline, config, device)
    _speed_up(pipeline, config)
    return pipeline


def place_of(model: str) -> str:
    """The path of a pipeline's folder, or a hub id as it is. ModelError, which says what lies there instead, for a
    folder without a pipeline, and for what is neither."""
    path = Path(resolve_model(model))
    if path.is_dir():
        if not (path / INDEX).is_file():
            raise ModelError(f"{model}: there is no pipeline in this folder (no {INDEX}){_hint(path)}")
    elif not ((named := HUB_ID.fullmatch(model)) and named[2] is None):
        raise ModelError(f"{model}: there is no such folder, and it is no hub id (owner/name)")
    return str(path)


def _hint(path: Path) -> str:
    from pipelines.uso.official import LORA_FILE

    if (path / "model" / INDEX).is_file():
        return f"; did you mean {path / 'model'}?"
    for folder in (path, path / "uso"):
        if (folder / LORA_FILE).is_file():
            return f"; {folder} has the files of USO's released format: give it as uso, beside the base that it is for"
    return ""


def index_of(path: str, revision: str | None) -> dict[str, Any]:
    """model_index.json: the pipeline's class, and library and class of each component."""
    from huggingface_hub import hf_hub_download

    file = Path(path, INDEX) if Path(path).is_dir() else Path(hf_hub_download(path, INDEX, revision=revision))
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def _pipeline_class(name: str) -> Any:
    import diffusers

    cls = load_symbol(OWN_PIPELINES[name]) if name in OWN_PIPELINES else getattr(diffusers, name, None)
    if not (isinstance(cls, type) and issubclass(cls, diffusers.DiffusionPipeline)):
        raise ValueError(f"{name} is not a pipeline of diffusers or of this project")
    return cls


def _check_names(cls: Any, given: Mapping[str, Any]) -> None:
    """from_pretrained takes options by the same way: what the config gives must be the constructor's."""
    known = inspect.signature(cls.__init__).parameters
    if unknown := sorted(set(given) - set(known)):
        raise ValueError(f"{cls.__name__} has no {', '.join(unknown)}; it has {', '.join(list(known)[1:])}")


def _component(part: Component, config: DiffusersExpert) -> Any:
    import diffusers
    import torch
    import transformers

    if part.type in OWN_COMPONENTS:
        cls = load_symbol(OWN_COMPONENTS[part.type])
    else:
        cls = getattr(diffusers, part.type, None) or getattr(transformers, part.type, None)
    if not isinstance(cls, type) or not hasattr(cls, "from_pretrained"):
        raise ValueError(f"{part.type} is not a class of diffusers, transformers or this project")
    dtype = getattr(torch, config.dtype)
    if part.weights is None:
        return cls(**(part.init or {})).to(dtype)
    path = resolve_model(part.weights.model)
    options: dict[str, Any] = {"revision": part.weights.revision, "subfolder": part.weights.subfolder or ""}
    if issubclass(cls, diffusers.ModelMixin | transformers.PreTrainedModel):  # the others have no weights
        options |= {"dtype": dtype, "use_safetensors": safetensors_only(path, config.pickles)}
    return cls.from_pretrained(path, **options)


def _add_adapters(pipeline: Any, config: DiffusersExpert) -> None:
    """IP-Adapter, LoRAs, and USO's released files."""
    adapters: list[IpAdapter | Lora] = [*([config.ip_adapter] if config.ip_adapter else []), *config.loras]
    for part in adapters:
        if not part.file.endswith(".safetensors") and part.file not in config.pickles:
            raise ModelError(f"{part.model}: {part.file} is a pickle; take the .safetensors file, or name it under "
                             "pickles if you trust it")
        named = {"subfolder": part.subfolder, "weight_name": part.file, "revision": part.revision}
        try:
            if isinstance(part, Lora):
                pipeline.load_lora_weights(resolve_model(part.model), adapter_name="lora", **named)
                if not any("lora" in names for names in pipeline.get_list_adapters().values()):
                    raise ValueError("none of its layers is in this pipeline")
                pipeline.fuse_lora(lora_scale=part.scale, adapter_names=["lora"])
                pipeline.unload_lora_weights()
            else:
                pipeline.load_ip_adapter(resolve_model(part.model), image_encoder_folder=None, **named)
                scale = part.model_dump(mode="json")["scale"]  # lists: diffusers would put a tuple on each layer whole
                pipeline.set_ip_adapter_scale(scale)
        except (OSError, ValueError, KeyError, AttributeError, RuntimeError) as error:
            raise ModelError(f"{part.model}: {part.file} does not fit {config.model}: {error}") from error
    if config.uso is not None:
        from pipelines.uso.official import load_official

        load_official(local_folder(config.uso), transformer=pipeline.transformer, projector=pipeline.projector)


def local_folder(weights: Weights) -> Path:
    """The folder of weights that a loader of ours reads; of a hub id only its subfolder is fetched."""
    from huggingface_hub import snapshot_download

    path = Path(resolve_model(weights.model))
    if not path.is_dir():
        only = f"{weights.subfolder}/*" if weights.subfolder else None
        path = Path(snapshot_download(weights.model, revision=weights.revision, allow_patterns=only))
    return path / (weights.subfolder or "")


def _place(pipeline: Any, config: DiffusersExpert, device: str) -> None:
    """On the device, or kept in main memory and moved there part by part; on a CPU there is nothing to move."""
    if device == "cpu" or config.offload == "none":
        pipeline.to(device)
    elif config.offload == "model":
        pipeline.enable_model_cpu_offload(device=device)
    else:
        pipeline.enable_sequential_cpu_offload(device=device)


def _speed_up(pipeline: Any, config: DiffusersExpert) -> None:
    from diffusers.models.attention_dispatch import attention_backend

    denoiser: Any = getattr(pipeline, "transformer", None) or getattr(pipeline, "unet", None)
    speed = config.speed
    try:
        if speed.attention is not None:
            with attention_backend():  # set_attention_backend sets the whole process's too: leaving puts that back
                denoiser.set_attention_backend(speed.attention)
        if speed.vae_tiling:
            pipeline.vae.enable_tiling()
        if speed.compile == "blocks":
            denoiser.compile_repeated_blocks()
        elif speed.compile == "whole" and type(pipeline).__name__ == "UsoPipeline":
            raise ValueError("UsoPipeline calls the parts of its denoiser; say compile: blocks")
        elif speed.compile == "whole":
            denoiser.compile()
    except (ValueError, AttributeError, ImportError, RuntimeError) as error:
        raise ModelError(f"{config.model}: speed: {error}") from error
