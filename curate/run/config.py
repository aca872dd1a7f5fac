"""``RunConfig``: one YAML file is one run. Each part is owned by the room that uses it; here they only meet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Union

from pydantic import Field, model_validator

import filters
import pipelines
from curate.config import StrictModel, apply_overrides, load_yaml, parse
from curate.engine.config import EngineConfig
from curate.errors import ConfigError
from curate.images import FitMode
from curate.interfaces import ExpertConfig, ScorerConfig, Verb
from curate.planning import RecipeConfig
from curate.seal import NearDuplicateConfig, RuleConfig, SealConfig
from curate.sources import SourceConfig
from pipelines.captioner import Captioner

DEFAULT_CONFIG = Path(__file__).parents[2] / "configs" / "quickstart.yaml"


def _union(table: dict[str, str]) -> Any:
    """The classes of an explicit table as one pydantic union told apart by ``kind``."""
    classes = tuple(pipelines.load_symbol(where) for where in table.values())
    return classes[0] if len(classes) == 1 else Annotated[Union[classes], Field(discriminator="kind")]  # noqa: UP007


if TYPE_CHECKING:
    AnyExpert = ExpertConfig
    AnyScorer = ScorerConfig
else:
    AnyExpert = _union(pipelines.EXPERTS)
    AnyScorer = _union(filters.SCORERS)


class FailureBudget(StrictModel):
    """How many failed units a run may end with and still exit 0."""

    max_fraction: float = Field(default=0.0, ge=0.0, le=1.0)
    """Of the planned units."""


class UntilConfig(StrictModel):
    """When a run has done enough. The next run with a larger goal goes on from there."""

    kept: int | None = Field(default=None, ge=1)
    """Triplets that rules, near-duplicates and the split let through."""
    gpu_hours: float | None = Field(default=None, gt=0.0)
    """GPU-hours that the workers held, busy or not, over all calls of this run. With ``replicas: [min, max]`` on a
    cluster where others work too, theirs count with them, up to the pools' most."""


class ClusterConfig(StrictModel):
    """What ``curate plan`` reckons with, and the pilot that places the stages. Nothing here changes a byte."""

    gpus: int | None = Field(default=None, ge=0)
    """None: ``engine.gpus``, else those that torch sees."""
    cpus: int | None = Field(default=None, ge=1)
    """None: ``engine.cpus``, else those this process may use."""
    gpu_memory_gb: float | None = Field(default=None, gt=0.0)
    """Of each GPU; None: of the first that torch sees."""
    price_per_gpu_hour: float | None = Field(default=None, ge=0.0)
    """In any currency."""
    pilot: str | None = None
    """pilot.json of ``curate plan --pilot``: a run balances ``replicas: auto`` and sizes ``gpus: auto`` by it."""


class RunConfig(StrictModel):
    """All of a run. See configs/quickstart.yaml for a commented example."""

    output: str
    """The run directory: a path (on a cluster one that all nodes share) or a URL as ``s3://bucket/run``."""
    seed: int = 0
    """Of all that is drawn: which subjects meet, which side of the split, what the experts draw."""
    size: int = Field(default=512, ge=16, le=4096)
    """Pixels; the images of a triplet are square."""
    fit: FitMode = "pad"
    """How other shapes become square: ``pad`` (filled up with white), ``crop`` (the middle), ``stretch``."""
    block: int = Field(default=8, ge=1, le=256)
    """Units that are made, scored and committed together."""
    limit: int | None = Field(default=None, ge=1)
    """Plan only the first so many units (they are representative: the plan interleaves styles)."""
    val_fraction: float = Field(default=0.1, ge=0.0, lt=1.0)
    """Share of the subjects, with all their pictures, that goes to the val side."""
    sources: dict[str, SourceConfig]
    """from_stylized: ``input`` and, unless new subjects come by prompt, ``subjects``; from_pair: ``contents`` and
    ``styles``."""
    recipe: RecipeConfig
    """How a triplet is made: what is given, and what the experts make of it."""
    experts: dict[Verb, AnyExpert]
    """``stylize``, and for from_stylized ``destylize``."""
    captioner: Captioner | None = None
    """Writes the captions that the sources lack; None: such units are prompted without words."""
    scorers: dict[str, AnyScorer] = Field(default_factory=dict)
    """In the order in which they run: cheap ones first."""
    cascade: tuple[str, ...] = ()
    """Scorers that skip units which already broke a rule."""
    rules: tuple[RuleConfig, ...] = ()
    """The first that a unit breaks gives the reason. Without any, all that is made is kept."""
    near_duplicates: NearDuplicateConfig | None = None
    """``{}`` rejects the later of two targets that look alike; None: they stay."""
    shards: SealConfig = SealConfig()
    engine: EngineConfig = EngineConfig()
    cluster: ClusterConfig = ClusterConfig()
    until: UntilConfig = UntilConfig()
    failures: FailureBudget = FailureBudget()

    @model_validator(mode="after")
    def _names_agree(self) -> RunConfig:
        columns = {c for scorer in self.scorers.values() for c in scorer.columns}
        for rule in self.rules:
            if rule.column not in columns:
                known = ", ".join(sorted(columns))
                raise ValueError(f"rules: no scorer here writes {rule.column!r}; there are: {known}")
        for name in self.cascade:
            if name not in self.scorers:
                raise ValueError(f"cascade: {name!r} is not among the scorers ({', '.join(self.scorers)})")
        return self


def load_config(path: Path, overrides: tuple[str, ...] = ()) -> RunConfig:
    """The run config in a YAML file with ``--set`` overrides applied; ConfigError names file, key and line."""
    values, lines = load_yaml(path)
    config = parse(RunConfig, apply_overrides(values, overrides), file=path, lines=lines)
    if not config.output:
        raise ConfigError("a run needs a directory", file=path, key="output")
    return config
