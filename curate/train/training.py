"""One training: build the parts that a config names, fit, and write what was learnt; alone or as one of several."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from curate.errors import ConfigError
from curate.train.begun import CHECKPOINT, check_begun, remember
from curate.train.config import TrainConfig
from curate.train.feeding import CachedFeed, PixelFeed
from curate.train.loading import device_of, load_reward, load_trainee
from curate.train.samples import Samples, first_triplets
from curate.train.validating import HACKED, WARNED, Validator
from curate.train.watching import Onlooker
from curate.train.writing import mark_written, write_model, written_step
from pipelines.training import Ema, FitResult, Group, Hooks, MetricsLog, Plan, TrainState, Watch, fit
from pipelines.training.allocator import keep_freed_memory
from pipelines.training.sharding import gathered_outside_blocks, shard
from pipelines.uso.pipeline import UsoPipeline
from pipelines.uso.training import Trained, UsoLosses, trainable


def train(config: TrainConfig) -> FitResult:
    """Train, or go on from the checkpoint in `out`; a training that has ended is left alone.

    A checkpoint that was made under another config is refused (ConfigError), see `curate.train.begun`.

    Written to `out`: `config.json`, `checkpoint.pt` (and others, see `pipelines.training.checkpoint`), `metrics.jsonl`,
    `tensorboard/`, `samples/`, and the model: `model/`, a `UsoPipeline` folder, where LoRA layers learn `uso/`, the
    released file format (see `pipelines.uso.official`), and in style alignment `projector/`, with `model/` at the end;
    what learnt, as it was at the best validation, in `best/`. `written.json` says
    of which step the model is, so that a crash between checkpoint and model is made good by the next call.
    """
    check_begun(config)
    if config.workers > 1:
        from curate.train.distributed import train_together

        return train_together(config)
    return Session(config, Group(), device_of(config)).fit()


class Session:
    """All parts of one training in this process, a member of a group; it ends after a step where `stops` says so."""

    def __init__(
        self, config: TrainConfig, group: Group, device: torch.device, stops: Callable[[], bool] = lambda: False
    ) -> None:
        self.config, self.group, self.device, self.out = config, group, device, Path(config.out)
        self.stops = stops
        self.pipeline = load_trainee(config, device)
        self.denoiser = self.pipeline.denoiser
        if config.compile:
            _compile(self.pipeline)
        if config.shard:
            _shard(self.pipeline, self.denoiser)
        self.wrapped: nn.Module = self.denoiser if config.shard else group.wrap(self.denoiser)
        self.losses = UsoLosses(
            self.pipeline,
            self.wrapped,
            stage=config.stage,
            flow=config.flow,
            seed=config.seed,
            roles=config.data.roles,
            reward=config.reward,
            style_reward=None if config.reward is None else load_reward(config, device),
            group=group,
        )
        self.state = _state(config, Trained(trainable(self.denoiser)))
        self.samples = Samples(config, first_triplets(config, config.samples.split, config.samples.count))
        self.validator = None if config.validation is None else Validator(config, config.validation, self.losses)
        feed = PixelFeed if config.cache is None else CachedFeed
        self.feed: PixelFeed | CachedFeed = feed(config, self.losses, device)

    def fit(self) -> FitResult:
        """Train to the end, or to a signal."""
        if self.device.type == "cpu":
            keep_freed_memory()
        if self.group.leads:
            remember(self.config)
        watched = Onlooker(self.out, self.config.steps) if self.group.leads else nullcontext()
        with closing(self.feed.batches), watched as onlooker:
            self.onlooker = onlooker
            result = fit(
                self.state,
                batch_at=self.feed.batches.item_at,
                losses_of=self.losses_of,
                plan=_plan(self.config),
                checkpoint=self.out / CHECKPOINT,
                log=MetricsLog(self.out / "metrics.jsonl"),
                on_save=self.save,
                hooks=Hooks(
                    validate=None if self.validator is None else self.validate,
                    numbers=None if self.config.reward is None else self.numbers,
                    on_best=self.save_best,
                    watch=onlooker or Watch(),
                    stops=self.stops,
                ),
                device=self.device,
                group=self.group,
                wrapped=self.wrapped,
            )
            lacks = self.group.leads and result.finished and written_step(self.out) != result.step
            if self.group.any(lacks, self.device):  # the leader has looked: another may look too late
                self.save(self.state)
        return result

    def losses_of(self, batch: Any) -> Mapping[str, Tensor]:
        """Named losses of a batch of the feed, at the present step."""
        return self.feed.losses_of(batch, self.state.step)

    def numbers(self, state: TrainState) -> Mapping[str, float]:
        """The reward itself, where the present step has one."""
        assert self.config.reward is not None
        return self.losses.numbers() if self.config.reward.weight_at(state.step) > 0 else {}

    def save(self, state: TrainState) -> None:
        """The model, averaged where there is an average, and samples of it."""
        with self._averaged(state):
            ended = state.step >= self.config.steps
            write_model(self.pipeline, self.config, self.out, leads=self.group.leads, ended=ended)
            if self.samples.pictures:
                with self._aside():
                    sheet = self.samples.sheet(self.pipeline)
                if self.onlooker is not None:
                    self.onlooker.picture(state.step, sheet)
        if self.group.leads:
            mark_written(self.out, state.step)

    def save_best(self, state: TrainState) -> None:
        """The model of the best validation so far."""
        with self._averaged(state):
            write_model(self.pipeline, self.config, self.out / "best", leads=self.group.leads)

    def validate(self, state: TrainState) -> dict[str, float]:
        """Numbers of the averaged model; warns of a hacked reward."""
        assert self.validator is not None
        with self._averaged(state), self._aside():
            numbers = self.validator(self.device)
        if self.validator.warns([*state.validations, {"step": state.step, **numbers}]):
            numbers[WARNED] = 1.0
            if self.onlooker is not None:
                self.onlooker.warn(f"step {state.step}: {HACKED}")
        return numbers

    @contextmanager
    def _aside(self) -> Iterator[None]:
        """Pictures are made between steps, of other shapes than batches: nothing is compiled for them."""
        eager = torch.compiler.set_stance("force_eager") if self.config.compile else nullcontext()
        with gathered_outside_blocks(self.denoiser), eager:
            yield

    @contextmanager
    def _averaged(self, state: TrainState) -> Iterator[None]:
        with nullcontext() if state.ema is None else state.ema.applied(state.model):
            yield


def _compile(pipeline: UsoPipeline) -> None:
    """torch.compile of the transformer's blocks, which are alike, and of a projector that learns: each kind is compiled
    once for each kind of input.

    Kinds: the two layouts in which blocks hand tokens on, with and without gradient, a mask or none, shapes.
    """
    import torch._dynamo.config
    import torch._functorch.config

    torch._functorch.config.donated_buffer = False  # gradients of single losses walk a graph twice
    torch._dynamo.config.recompile_limit = 64  # the default, 8, is less than that, and beyond it blocks run as they are
    pipeline.transformer.compile_repeated_blocks()
    if pipeline.projector is not None and any(each.requires_grad for each in pipeline.projector.parameters()):
        pipeline.projector.compile()


def _shard(pipeline: UsoPipeline, denoiser: nn.Module) -> None:
    """The transformer in pieces; the projector too, where it learns."""
    # FLUX's blocks return views, and nothing writes into them
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view", category=UserWarning)
    transformer, projector = pipeline.transformer, pipeline.projector
    frozen = [] if projector is None or any(p.requires_grad for p in projector.parameters()) else [projector]
    shard(denoiser, [*transformer.transformer_blocks, *transformer.single_transformer_blocks], whole=frozen)


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
        keep_last=config.keep_last,
        validate_every=config.steps if config.validation is None else config.validation.every,
        part_norms=not config.shard,
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
        groups, lr=optimiser.lr, betas=optimiser.betas, weight_decay=optimiser.weight_decay, fused=True
    )
    return TrainState(trained, adamw, None if optimiser.ema is None else Ema(trained, decay=optimiser.ema))
