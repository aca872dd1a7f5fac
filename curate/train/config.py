"""TrainConfig: one YAML file is one training."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from curate.config import StrictModel
from pipelines.data.config import DataConfig
from pipelines.diffusers_expert import DiffusersExpert
from pipelines.uso.flow import FlowConfig
from pipelines.uso.pipeline import StyleEncoding
from pipelines.uso.projector import ProjectorKind
from pipelines.uso.reward import RewardConfig
from pipelines.uso.training import Stage

Base = Annotated[
    Annotated[str, Tag("place")] | Annotated[DiffusersExpert, Tag("parts")],
    Discriminator(lambda value: "place" if isinstance(value, str) else "parts"),
]
"""A pipeline that lies somewhere, or the parts that one is put together of, as an expert's config names them."""


class OptimiserConfig(StrictModel):
    """AdamW, linear warm-up, constant rate, linear decay over the last `cooldown` of the steps. UNO's trainer: 100
    warm-up steps, no decay, weight decay 0.01; USO: 8e-5 in both stages."""

    lr: float = Field(default=8e-5, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    betas: tuple[float, float] = (0.9, 0.999)
    warmup: int = Field(default=100, ge=0)
    cooldown: float = Field(default=0.0, ge=0, le=1)
    clip: float = Field(default=1.0, gt=0)
    ema: float | None = Field(default=None, gt=0, lt=1)


class SamplesConfig(StrictModel):
    """Pictures of a few fixed triplets of a split, drawn at every save into `samples/`."""

    split: Literal["train", "val"] = "val"
    count: int = Field(default=8, ge=0)
    steps: int = Field(default=25, ge=1)
    guidance: float = 4.0


class ValidationConfig(StrictModel):
    """Numbers on fixed triplets of a split: `val_flow`, the flow loss of `count` of them at fixed noise levels; and of
    the pictures that the model makes of `pictures` of them `val_style`, a style similarity that no loss knows, beside
    `val_reward`. A warning is given when over `window` validations the reward rises and the other falls. The model of
    the lowest `val_flow` is written to `best/`."""

    every: int = Field(default=500, ge=1)
    split: Literal["train", "val"] = "val"
    count: int = Field(default=32, ge=1)
    levels: tuple[float, ...] = (0.1, 0.3, 0.5, 0.7, 0.9)
    pictures: int = Field(default=16, ge=0)
    window: int = Field(default=5, ge=3)

    @field_validator("levels")
    @classmethod
    def _levels_are_noise(cls, levels: tuple[float, ...]) -> tuple[float, ...]:
        if not levels or not all(0 < level <= 1 for level in levels):
            raise ValueError(f"noise levels lie above 0 and up to 1, not {levels}")
        return levels


class TrainConfig(StrictModel):
    """What is trained, on what, how, and where to. Relative paths are relative to where the command runs."""

    out: str
    """Folder of checkpoints, log, samples and the trained model."""
    base: Base
    """A `UsoPipeline` folder, `zoo:NAME`, or a hub id; or its parts: {preset: uso, uso: null} is FLUX.1 dev and SigLIP
    from the hub with a new projector (see configs/experts/uso.yaml)."""
    stage: Stage
    projector: ProjectorKind | Literal["none"] | None = None
    """Another kind of style projector than the base has, untrained, or none; None: the base's own."""
    style_encoding: StyleEncoding | None = None
    """Another way for style images than the base's: `vision`, by the projector, or `vae`, as contents go (one shared
    encoder; it takes no projector). Together the paper's ablations."""
    learn: Literal["lora", "full"] = "lora"
    """Of the transformer, in the stages that train it: LoRA layers on every block's attention, or all weights."""
    lora_rank: int = Field(default=128, ge=1)
    uso: str | None = None
    """A folder with the released files, of USO's authors or written by a training here (`uso/`): LoRA and projector to
    go on from instead of new ones. The LoRA then has the rank of the file, whatever `lora_rank` says."""
    data: DataConfig
    flow: FlowConfig = FlowConfig()
    reward: RewardConfig | None = None
    reward_model: str = "zoo:csd"
    """The CSD checkpoint that the style reward is taken from."""
    optimiser: OptimiserConfig = OptimiserConfig()
    samples: SamplesConfig = SamplesConfig()
    validation: ValidationConfig | None = None
    steps: int = Field(ge=1)
    batch: int = Field(ge=1)
    """Samples of one forward and backward, of all workers together."""
    accumulate: int = Field(default=1, ge=1)
    seed: int = 0
    log_every: int = Field(default=50, ge=1)
    save_every: int = Field(default=500, ge=1)
    keep_last: int = Field(default=1, ge=1)
    """Checkpoints that stay: `checkpoint.pt` is the newest."""
    cache: str | None = None
    """Folder for what the frozen encoders make of each sample (latents, text states, and vision states or, of a
    projector that does not learn, style tokens), made on first use and read ever after; several trainings and processes
    may share it. See `pipelines.uso.cached`."""
    bf16: bool = True
    """bfloat16 autocast of what learns, where it pays."""
    frozen_dtype: Literal["float32", "bfloat16"] = "float32"
    """Of weights that do not learn, and so of features and cache. What learns is float32."""
    gradient_checkpointing: bool = False
    compile: bool = False
    device: Literal["auto", "cpu", "cuda"] = "auto"
    workers: int = Field(default=1, ge=1)
    """Processes, each with a GPU where `device` has one, that share every batch by Ray Train. On several machines
    `out`, `cache` and the data must be reachable for all under the same names. 1 needs no Ray."""
    shard: bool = False
    """Cut weights, gradients and optimiser over the workers (FSDP) instead of copies for each: for `learn: full`."""
    readers: int = Field(default=0, ge=0)
    """Processes of each worker that read and decode; the batches are the same for any number. 0: a thread of the
    worker, which shares the interpreter with the step."""
    ray_address: str | None = None
    """A running cluster, "auto" to find one; None starts Ray here."""

    @field_validator("out", "cache")
    @classmethod
    def _on_a_disk(cls, place: str | None) -> str | None:
        if place is not None and "://" in place:
            raise ValueError("a training writes to a disk, not to a bucket: give a path, which all workers share")
        return place

    @field_validator("base")
    @classmethod
    def _base_is_untrained(cls, base: str | DiffusersExpert) -> str | DiffusersExpert:
        if not isinstance(base, str) and base.uso is not None:
            raise ValueError("say uso: null beside the preset; the training's own `uso` goes on from released files")
        return base

    @model_validator(mode="after")
    def _styles_are_there(self) -> Self:
        if self.data.roles.style is None and (self.stage == "style_alignment" or self.reward is not None):
            raise ValueError("style_alignment and a reward need a style reference: set data.roles.style")
        return self

    @model_validator(mode="after")
    def _released_files_learn(self) -> Self:
        if self.uso is not None and (self.learn != "lora" or self.stage == "style_alignment"):
            raise ValueError("uso holds a LoRA: it needs learn: lora, and a stage in which the transformer learns")
        return self

    @model_validator(mode="after")
    def _workers_share_evenly(self) -> Self:
        if self.batch % self.workers:
            raise ValueError(f"a batch of {self.batch} cannot be shared by {self.workers} workers: use a multiple")
        if self.shard and (self.workers == 1 or self.learn != "full" or self.stage == "style_alignment"):
            raise ValueError("shard cuts the whole transformer over workers: it needs learn: full, workers above 1, "
                             "and a stage in which the transformer learns")
        return self
