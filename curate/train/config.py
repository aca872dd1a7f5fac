"""TrainConfig: one YAML file is one training."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from curate.config import StrictModel
from pipelines.data.config import DataConfig
from pipelines.uso.flow import FlowConfig
from pipelines.uso.reward import RewardConfig
from pipelines.uso.training import Stage


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


class TrainConfig(StrictModel):
    """What is trained, on what, how, and where to. Relative paths are relative to where the command runs."""

    out: str
    base: str
    """A `UsoPipeline` folder, `zoo:NAME`, or a hub id."""
    stage: Stage
    learn: Literal["lora", "full"] = "lora"
    """Of the transformer, in the stages that train it: LoRA layers on every block's attention, or all weights."""
    lora_rank: int = Field(default=128, ge=1)
    data: DataConfig
    flow: FlowConfig = FlowConfig()
    reward: RewardConfig | None = None
    reward_model: str = "zoo:csd"
    """The CSD checkpoint that the style reward is taken from."""
    optimiser: OptimiserConfig = OptimiserConfig()
    samples: SamplesConfig = SamplesConfig()
    steps: int = Field(ge=1)
    batch: int = Field(ge=1)
    accumulate: int = Field(default=1, ge=1)
    seed: int = 0
    log_every: int = Field(default=50, ge=1)
    save_every: int = Field(default=500, ge=1)
    cache: str | None = None
    """Folder for what the frozen encoders make of each sample (latents, vision states, text states), made on first use
    and read ever after; several trainings and processes may share it. See `pipelines.uso.cached`."""
    bf16: bool = True
    """bfloat16 autocast of what learns, where it pays."""
    frozen_dtype: Literal["float32", "bfloat16"] = "float32"
    """Of weights that do not learn, and so of features and cache. What learns is float32."""
    gradient_checkpointing: bool = False
    compile: bool = False
    device: Literal["auto", "cpu", "cuda"] = "auto"
