"""One training, in one process: build the parts that a config names, fit, and write what was learnt."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path

import torch
from diffusers.utils import logging as diffusers_logging
from torch import Tensor
from transformers.utils import logging as transformers_logging

from curate.errors import ConfigError, ModelError
from curate.files import write_json
from curate.models import resolve_model
from curate.train.config import TrainConfig
from curate.train.samples import Samples
from filters.csd_reward import CsdReward
from filters.csd_weights import load_csd
from pipelines.data import Batch, TripletStream, batches
from pipelines.training import Ema, FitResult, MetricsLog, Plan, TrainState, fit
from pipelines.uso.official import add_lora, save_official
from pipelines.uso.pipeline import UsoPipeline
from pipelines.uso.training import Trained, UsoLosses, freeze_all_but, to_device, trainable

WRITTEN = "written.json"


def train(config: TrainConfig) -> FitResult:
    """Train, or go on from the checkpoint in `out`; a training that has ended is left alone.

    Written to `out`: `checkpoint.pt`, `metrics.jsonl`, `samples/`, and the model: `model/`, a `UsoPipeline` folder,
    or where LoRA layers learn `uso/`, the released file format (see `pipelines.uso.official`). `written.json` says of
    which step they are, so that a crash between checkpoint and model is made good by the next call.
    """
    device = _device(config)
    out = Path(config.out)
    pipeline = load_uso(config.base).to(device)
    if _learns_lora(config):
        _check_released(pipeline)
        torch.manual_seed(config.seed)
        add_lora(pipeline.transformer, rank=config.lora_rank)
    freeze_all_but(pipeline, config.stage)
    if config.gradient_checkpointing:
        pipeline.transformer.enable_gradient_checkpointing()
    denoiser = pipeline.denoiser
    losses = UsoLosses(
        pipeline,
        torch.compile(denoiser) if config.compile else denoiser,  # type: ignore[arg-type]
        stage=config.stage,
        flow=config.flow,
        seed=config.seed,
        reward=config.reward,
        style_reward=None if config.reward is None else _reward(config, device),
    )
    state = _state(config, Trained(trainable(denoiser)))
    samples = Samples.from_config(config)

    def losses_of(batch: Batch) -> Mapping[str, Tensor]:
        return losses(to_device(batch, device), state.step)

    def on_save(state: TrainState) -> None:
        with nullcontext() if state.ema is None else state.ema.applied(state.model):
            write_model(pipeline, config, out)
            samples.draw(pipeline, out, step=state.step)
        write_json(out / WRITTEN, {"step": state.step})

    result = fit(
        state,
        batch_at=_batch_at(config),
        losses_of=losses_of,
        plan=_plan(config),
        checkpoint=out / "checkpoint.pt",
        log=MetricsLog(out / "metrics.jsonl"),
        on_save=on_save,
        device=device,
    )
    if result.finished and _written_step(out) != result.step:
        on_save(state)
    return result


def load_uso(model: str) -> UsoPipeline:
    """A `UsoPipeline` by folder, `zoo:NAME` or hub id, in float32."""
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    try:
        pipeline = UsoPipeline.from_pretrained(resolve_model(model), dtype=torch.float32)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{model}: not a USO pipeline that can be loaded: {error}") from error
    pipeline.set_progress_bar_config(disable=True)
    assert isinstance(pipeline, UsoPipeline)
    return pipeline


def write_model(pipeline: UsoPipeline, config: TrainConfig, out: Path) -> None:
    """What was learnt: a whole pipeline, or where LoRA layers learn the two files that USO released."""
    if _learns_lora(config):
        save_official(out / "uso", transformer=pipeline.transformer, projector=pipeline.projector)
    else:
        pipeline.save_pretrained(out / "model")


def _learns_lora(config: TrainConfig) -> bool:
    return config.learn == "lora" and config.stage != "style_alignment"


def _check_released(pipeline: UsoPipeline) -> None:
    """Refuse before the first step what could not be written after it."""
    if pipeline.projector is None or pipeline.projector.config.kind != "hierarchical":
        raise ConfigError(
            "LoRA layers are written as USO's released files, which hold a hierarchical projector, and this base has "
            "none; use learn: full",
            key="learn",
        )


def _written_step(out: Path) -> int | None:
    path = out / WRITTEN
    return int(json.loads(path.read_text())["step"]) if path.is_file() else None


def _plan(config: TrainConfig) -> Plan:
    optimiser = config.optimiser
    return Plan(
        steps=config.steps,
        peak_lr=optimiser.lr,
        warmup=optimiser.warmup,
        cooldown=optimiser.cooldown,
        clip=optimiser.clip,
        seed=config.seed,
        log_every=config.log_every,
        save_every=config.save_every,
        bf16=config.bf16,
        accumulate=config.accumulate,
    )


def _state(config: TrainConfig, trained: Trained) -> TrainState:
    """The optimiser over what learns, in groups by part so that the log has a gradient norm of each."""
    parts: dict[str, list[torch.nn.Parameter]] = {}
    for name, parameter in trained.named_parameters():
        parts.setdefault(name.partition("/")[0], []).append(parameter)
    if not parts:
        raise ConfigError("nothing learns: this stage trains the projector, and the base has none", key="stage")
    groups = [{"params": parameters, "name": name} for name, parameters in parts.items()]
    optimiser = config.optimiser
    adamw = torch.optim.AdamW(
        groups, lr=optimiser.lr, betas=optimiser.betas, weight_decay=optimiser.weight_decay
    )
    return TrainState(trained, adamw, None if optimiser.ema is None else Ema(trained, decay=optimiser.ema))


def _batch_at(config: TrainConfig) -> Callable[[int], Batch]:
    """Batches by number. They are read as one stream that starts at the first number asked for."""
    stream = TripletStream(config.data, seed=config.seed)
    running: Iterator[Batch] | None = None
    expected = -1

    def batch_at(number: int) -> Batch:
        nonlocal running, expected
        if running is None or number != expected:
            running = batches(stream, config.data, batch_size=config.batch, start_batch=number, seed=config.seed)
        expected = number + 1
        return next(running)

    return batch_at


def _reward(config: TrainConfig, device: torch.device) -> CsdReward:
    network = load_csd(Path(resolve_model(config.reward_model)))
    return CsdReward(network.to(device))


def _device(config: TrainConfig) -> torch.device:
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("cuda is asked for, and torch sees no GPU here; use auto or cpu", key="device")
    found = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(found if config.device == "auto" else config.device)
