"""One training, in one process: build the parts that a config names, fit, and write what was learnt."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from curate.errors import ConfigError
from curate.train.config import TrainConfig
from curate.train.feeding import CachedFeed, PixelFeed
from curate.train.loading import device_of, load_reward, load_trainee
from curate.train.samples import Samples
from curate.train.writing import mark_written, write_model, written_step
from pipelines.training import Ema, FitResult, MetricsLog, Plan, TrainState, fit
from pipelines.uso.training import Trained, UsoLosses, trainable


def train(config: TrainConfig) -> FitResult:
    """Train, or go on from the checkpoint in `out`; a training that has ended is left alone.

    Written to `out`: `checkpoint.pt`, `metrics.jsonl`, `samples/`, and the model: `model/`, a `UsoPipeline` folder,
    or where LoRA layers learn `uso/`, the released file format (see `pipelines.uso.official`). `written.json` says of
    which step they are, so that a crash between checkpoint and model is made good by the next call.
    """
    device = device_of(config)
    out = Path(config.out)
    pipeline = load_trainee(config, device)
    denoiser = pipeline.denoiser
    losses = UsoLosses(
        pipeline,
        torch.compile(denoiser) if config.compile else denoiser,  # type: ignore[arg-type]
        stage=config.stage,
        flow=config.flow,
        seed=config.seed,
        reward=config.reward,
        style_reward=None if config.reward is None else load_reward(config, device),
    )
    state = _state(config, Trained(trainable(denoiser)))
    samples = Samples.from_config(config)
    feed = PixelFeed(config, losses, device) if config.cache is None else CachedFeed(config, losses, device)

    def losses_of(batch: Any) -> Mapping[str, Tensor]:
        return feed.losses_of(batch, state.step)

    def on_save(state: TrainState) -> None:
        with nullcontext() if state.ema is None else state.ema.applied(state.model):
            write_model(pipeline, config, out)
            samples.draw(pipeline, out, step=state.step)
        mark_written(out, state.step)

    result = fit(
        state,
        batch_at=feed.batch_at,
        losses_of=losses_of,
        plan=_plan(config),
        checkpoint=out / "checkpoint.pt",
        log=MetricsLog(out / "metrics.jsonl"),
        on_save=on_save,
        device=device,
    )
    if result.finished and written_step(out) != result.step:
        on_save(state)
    return result


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
