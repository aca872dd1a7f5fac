"""What a training leaves: the model in its format, and of which step it is."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError

from curate.files import explaining_writes, write_json
from curate.train.config import TrainConfig
from curate.train.loading import learns_lora
from pipelines.training.sharding import gathered
from pipelines.uso.official import save_official, save_peft_lora
from pipelines.uso.pipeline import UsoPipeline

SETTINGS = ("positions", "style_encoding", "content_px", "size_px", "max_text_tokens", "shift")
_WRITTEN = "written.json"


def write_model(pipeline: UsoPipeline, config: TrainConfig, out: Path, *, leads: bool, ended: bool = False) -> None:
    """What was learnt: a whole pipeline in `model/`; or where LoRA layers learn the two files that USO released in
    `uso/`, and in `lora/` the same LoRA for diffusers' `load_lora_weights`.

    Style alignment changes the projector alone: `projector/` is written each time, and the whole pipeline (35 GB at
    FLUX size) when the training has ended. Of several processes all call it, for weights may lie in pieces, and one
    leads.
    """
    if learns_lora(config):
        if leads:
            save_official(out / "uso", transformer=pipeline.transformer, projector=pipeline.projector)
            save_peft_lora(out / "lora", transformer=pipeline.transformer)
        return
    if config.stage == "style_alignment":
        if leads and pipeline.projector is not None:
            with explaining_writes(out / "projector", SafetensorError):
                pipeline.projector.save_pretrained(out / "projector")
        if not ended:
            return
    written = _whole(pipeline) if config.shard else pipeline
    if leads:
        with explaining_writes(out / "model", SafetensorError):
            # diffusers writes it last: a folder without it is refused, and not drawn from half old and half new
            (out / "model" / UsoPipeline.config_name).unlink(missing_ok=True)
            written.save_pretrained(out / "model")


def _whole(pipeline: UsoPipeline) -> UsoPipeline:
    """The same with a transformer and a projector whose weights are in one piece."""
    parts = {}
    for name in ("transformer", "projector"):
        module = getattr(pipeline, name)
        if module is not None:
            state = gathered(module.state_dict())
            with torch.device("meta"):
                parts[name] = type(module).from_config(module.config)
            parts[name].load_state_dict(state, assign=True)
    return UsoPipeline(**{**pipeline.components, **parts}, **{name: pipeline.config[name] for name in SETTINGS})


def mark_written(out: Path, step: int) -> None:
    """Say that all that belongs to a step is there: so a crash before it is made good by the next call."""
    write_json(out / _WRITTEN, {"step": step})


def written_step(out: Path) -> int | None:
    """The step that was last marked; None where none is, or it cannot be read."""
    try:
        return int(json.loads((out / _WRITTEN).read_text())["step"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
