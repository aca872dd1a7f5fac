"""What generates: experts (stylize, destylize) as small configs with one verb, and our own compact pipelines.

To add an expert: one file with a ``StageConfig`` subclass, one line in ``EXPERTS``, one test.
"""

from __future__ import annotations

import importlib
from typing import Any

EXPERTS: dict[str, str] = {
    "diffusers": "pipelines.diffusers_expert:DiffusersExpert",
}
"""Config ``kind`` -> "module:Class"; modules are imported when asked for, so the CLI stays light."""

OWN_PIPELINES: dict[str, str] = {
    "RestylePipeline": "pipelines.compact.pipeline:RestylePipeline",
    "UsoPipeline": "pipelines.uso.pipeline:UsoPipeline",
}
"""``_class_name`` in a model_index.json -> "module:Class" for the DiffusionPipeline classes that live here."""


def load_symbol(where: str) -> Any:
    """The object that "module:Name" names."""
    module, _, name = where.partition(":")
    return getattr(importlib.import_module(module), name)
