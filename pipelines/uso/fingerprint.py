"""A name for all that features depend on besides the sample: weights, configs and tokenizers of the frozen encoders."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import torch
from torch import nn

from curate.seeds import digest
from pipelines.data import DataConfig
from pipelines.uso.features import Kind
from pipelines.uso.pipeline import UsoPipeline

_INCIDENTAL = ("architectures", "transformers_version", "dtype", "torch_dtype")


def fingerprint(pipeline: UsoPipeline, kind: Kind, data: DataConfig, *, projects: bool = False) -> str:
    """32 hex digits that change when the features of this kind may: other weights (by content), another precision or
    kind of device, another preparation of the images. Folders and file names do not count. `projects`: see `Encoders`.
    """
    vae, vision, shared = pipeline.vae, pipeline.vision_encoder, pipeline.config.style_encoding == "vae"
    layout = (data.size_px, data.content_size_px, data.buckets)
    if kind == "text":
        texts = (pipeline.text_encoder, pipeline.text_encoder_2)
        tokenizers = (_tokenizer(pipeline.tokenizer), _tokenizer(pipeline.tokenizer_2))
        parts = (*map(module_hash, texts), *tokenizers, pipeline.config.max_text_tokens)
    elif kind == "style" and not shared:
        processor = json.dumps(pipeline.vision_processor.to_dict(), sort_keys=True, default=str)
        projector = pipeline.projector.config
        parts = (module_hash(vision), processor, projector.kind, str(tuple(projector.levels)), data.style_px)
        parts += (module_hash(pipeline.projector),) if projects else ()
    else:
        parts = (module_hash(vae), str(data.style_px if kind == "style" else layout))
    return digest(kind, pipeline.vae.device.type, *parts)


def module_hash(module: nn.Module) -> str:
    """Hex digest of a module's config and of the names, types, shapes and bytes of its weights."""
    found = hashlib.blake2b(digest_size=16)
    found.update(json.dumps(_plain(module.config), sort_keys=True, default=str).encode())
    for name, value in sorted(module.state_dict().items()):
        found.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        found.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def _plain(config: Any) -> dict[str, Any]:
    values = config.to_dict() if hasattr(config, "to_dict") else dict(config)
    return {name: value for name, value in values.items() if name[0] != "_" and name not in _INCIDENTAL}


def _tokenizer(tokenizer: Any) -> str:
    """Its vocabulary and rules; the padding and truncation of the last call, which it also remembers, do not count."""
    rules = json.loads(tokenizer.backend_tokenizer.to_str())
    rules = {name: value for name, value in rules.items() if name not in ("padding", "truncation")}
    return digest(json.dumps(rules, sort_keys=True), str(tokenizer.special_tokens_map))
