"""What a training leaves: the model in its format, and of which step it is."""

from __future__ import annotations

import json
from pathlib import Path

from curate.files import write_json
from curate.train.config import TrainConfig
from curate.train.loading import learns_lora
from pipelines.uso.official import save_official
from pipelines.uso.pipeline import UsoPipeline

_WRITTEN = "written.json"


def write_model(pipeline: UsoPipeline, config: TrainConfig, out: Path) -> None:
    """What was learnt: a whole pipeline, or where LoRA layers learn the two files that USO released."""
    if learns_lora(config):
        save_official(out / "uso", transformer=pipeline.transformer, projector=pipeline.projector)
    else:
        pipeline.save_pretrained(out / "model")


def mark_written(out: Path, step: int) -> None:
    """Say that all that belongs to a step is there: so a crash before it is made good by the next call."""
    write_json(out / _WRITTEN, {"step": step})


def written_step(out: Path) -> int | None:
    """The step that was last marked."""
    path = out / _WRITTEN
    return int(json.loads(path.read_text())["step"]) if path.is_file() else None
