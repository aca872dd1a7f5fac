"""Fields that all scorers with a model share, and the identity that names their folder of scores."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from curate.config import StageConfig
from curate.models import model_hash

Dtype = Literal["float32", "bfloat16", "float16"]


class Scorer(StageConfig):
    """Base of the scorer configs; ``version`` is raised when a scorer's arithmetic changes its numbers."""

    version: ClassVar[int] = 1

    def identity(self) -> dict[str, object]:
        """All that determines the numbers: the config values (not where it runs) and the version of the
        arithmetic.
        """
        return {"version": self.version, **self.model_dump(mode="json", exclude={"resources", "model"})}


class ModelScorer(Scorer):
    """A scorer with weights."""

    model: str
    """A local path, a hub id or ``zoo:NAME``."""
    revision: str | None = None
    """Pins a hub id; a run replaces a branch or tag by the commit that it is."""
    dtype: Dtype = "float32"
    """Of the weights."""
    batch: int = Field(default=16, ge=1)
    """Units in one forward pass (its composition reaches the last bits of a float, so it belongs to the identity)."""

    @property
    def hub_id(self) -> str | None:
        """What the plan pins ``revision`` to a commit of; None where ``model`` is another kind of name."""
        return self.model

    def identity(self) -> dict[str, object]:
        """Config values, version, and the hash of the weights (content of a local model, id of a hub model,
        never a path).
        """
        return {**super().identity(), "model_hash": model_hash(self.model, self.revision)}


class TransformersScorer(ModelScorer):
    """A scorer whose model transformers loads: from safetensors, and from pickles only where they are named."""

    pickles: tuple[str, ...] = ()
    """Those that may be opened: names relative to a local folder, or ``pytorch_model.bin`` of a hub id. torch opens
    them with weights_only. They are no part of the identity: the weights are."""

    def identity(self) -> dict[str, object]:
        """As ``ModelScorer.identity``."""
        return {name: value for name, value in super().identity().items() if name != "pickles"}
