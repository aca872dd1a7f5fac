"""A USO training on batches of triplets: what learns in which stage, dropout, the reward's start, exact resume."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from pipelines.data import Batch, RolesConfig
from pipelines.data.transforms import to_model
from pipelines.training import Hooks, MetricsLog, Plan, TrainState, fit
from pipelines.uso.flow import FlowConfig
from pipelines.uso.pipeline import UsoPipeline
from pipelines.uso.reward import RewardConfig
from pipelines.uso.training import Stage, Trained, UsoLosses, freeze_all_but, trainable
from tests.tiny_uso import WORDS, tiny_uso

PLAN = Plan(steps=6, peak_lr=1e-3, warmup=1, cooldown=0.5, log_every=1, save_every=2, bf16=False)


def batch_at(step: int, size: int = 4) -> Batch:
    draw = torch.Generator().manual_seed(step)

    def images() -> Tensor:
        return torch.rand(size, 3, 64, 64, generator=draw) * 2 - 1

    return Batch(
        target=images(),
        content=images(),
        style=images(),
        captions=[WORDS[(step + place) % len(WORDS)] for place in range(size)],
        drop_style=torch.tensor([False, True, False, False]),
        drop_content=torch.tensor([False, False, True, False]),
        drop_text=torch.tensor([False, False, False, True]),
        keys=[str(place) for place in range(size)],
        positions=[step * size + place for place in range(size)],
    )


def rows(batch: Batch, *places: int) -> Batch:
    index = torch.tensor(places)
    named = {field.name: getattr(batch, field.name) for field in fields(batch)}
    picked = {name: value[index] for name, value in named.items() if isinstance(value, Tensor)}
    return replace(batch, **picked, captions=[batch.captions[p] for p in places],
                   positions=[batch.positions[p] for p in places])


def losses_for(uso: UsoPipeline, stage: Stage, **options: object) -> UsoLosses:
    freeze_all_but(uso, stage)
    return UsoLosses(uso, uso.denoiser, stage=stage, flow=FlowConfig(), seed=5, **options)  # type: ignore[arg-type]


def brightness(pictures: Tensor, styles: Tensor) -> Tensor:
    return pictures.mean((1, 2, 3)) * styles.mean((1, 2, 3))


@pytest.mark.parametrize(
    ("stage", "learns"),
    [
        ("style_alignment", {"projector"}),
        ("disentanglement", {"transformer"}),
        ("expert", {"projector", "transformer"}),
    ],
)
def test_each_stage_trains_its_own_part(stage: Stage, learns: set[str]) -> None:
    uso = tiny_uso()
    losses_for(uso, stage)(batch_at(0), 0)["flow"].backward()
    moved = {name.partition(".")[0] for name, p in uso.denoiser.named_parameters() if p.grad is not None}
    assert moved == learns == {name.partition(".")[0] for name, _ in trainable(uso.denoiser)}
    assert all(p.grad is None for p in uso.vae.parameters())


def test_only_the_second_stage_sees_the_content() -> None:
    uso, batch = tiny_uso(), batch_at(0)
    other = replace(batch, content=-batch.content)
    for stage, sees in (("style_alignment", False), ("disentanglement", True)):
        losses = losses_for(uso, stage)  # type: ignore[arg-type]
        same = torch.equal(losses(batch, 0)["flow"], losses(other, 0)["flow"])
        assert same is not sees


def test_what_is_dropped_cannot_be_seen() -> None:
    losses, batch = losses_for(tiny_uso(), "disentanglement"), batch_at(0)
    for place, change in (
        (1, {"style": -batch.style}),
        (2, {"content": -batch.content}),
        (3, {"captions": ["a blue disc"] * 4}),
    ):
        changed = replace(batch, **change)  # type: ignore[arg-type]
        torch.testing.assert_close(losses(rows(changed, place), 0)["flow"], losses(rows(batch, place), 0)["flow"])
        no = torch.zeros(4, dtype=torch.bool)
        kept = replace(changed, drop_style=no, drop_content=no, drop_text=no)
        undropped = replace(kept, style=batch.style, content=batch.content, captions=batch.captions)
        assert not torch.equal(losses(rows(kept, place), 0)["flow"], losses(rows(undropped, place), 0)["flow"])


@pytest.mark.parametrize("positions", ["diagonal", "aligned"])
@pytest.mark.parametrize("roles", [RolesConfig(), RolesConfig(content=None)])
@pytest.mark.parametrize("height", [64, 32])
@torch.no_grad()
def test_with_one_shared_encoder_a_style_alone_is_drawn_as_it_was_trained(
    positions: str, roles: RolesConfig, height: int
) -> None:
    uso, batch = tiny_uso(projector=None, style_encoding="vae", positions=positions), batch_at(0, size=1)
    style = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    no = torch.tensor([False])
    flat = {name: getattr(batch, name)[:, :, :height] for name in ("target", "content")}
    batch = replace(batch, **flat, style=to_model(style)[None], drop_style=no, drop_content=~no, drop_text=no)
    losses = losses_for(uso, "expert", roles=roles)
    features = losses.encoders(batch)
    trained = losses.conditions(features, batch)
    drawn = uso.encode(*uso.encode_prompt(batch.captions), [[]], [[style]], height=height, width=64)
    assert len(drawn.contents) == 1  # a masked content would cost its tokens
    latents, sigma = torch.randn_like(features["target"][0]), torch.tensor([0.5])
    velocities = [uso.denoiser(latents, sigma, conditions, 1.0) for conditions in (trained, drawn)]
    torch.testing.assert_close(*velocities, rtol=0, atol=1e-5)


def test_style_tokens_made_once_are_those_that_the_pass_makes() -> None:
    """A frozen projector is asked once, also where a reward samples in several steps; the losses are those of one that
    is a part of each pass."""
    uso, reward = tiny_uso(), RewardConfig(num_steps=3, window=(0.9, 1.0), batch=2, recombine=True)
    calls: list[int] = []
    uso.projector.register_forward_hook(lambda *_: calls.append(1))
    once = losses_for(uso, "disentanglement", reward=reward, style_reward=brightness)(batch_at(0), 0)
    assert len(calls) == 1
    each = losses_for(uso, "expert", reward=reward, style_reward=brightness)(batch_at(0), 0)
    assert len(calls) == 1 + 1 + 3
    assert {name: value.item() for name, value in once.items()} == {name: value.item() for name, value in each.items()}


def test_half_batches_on_two_workers_make_the_loss_of_the_whole_batch() -> None:
    losses, batch = losses_for(tiny_uso(), "disentanglement"), batch_at(3)
    halves = [losses(rows(batch, *places), 0)["flow"] for places in ((0, 2), (1, 3))]
    torch.testing.assert_close((halves[0] + halves[1]) / 2, losses(batch, 0)["flow"])


@pytest.mark.parametrize("encoding", ["tokens", "vae"])
def test_a_recombined_reward_is_that_of_contents_with_the_next_ones_style(encoding: str) -> None:
    uso = tiny_uso()
    if encoding == "vae":
        uso.register_to_config(style_encoding="vae")
        uso.register_modules(projector=None, vision_encoder=None, vision_processor=None)
    plain, recombined = (
        losses_for(uso, "disentanglement", reward=RewardConfig(num_steps=3, recombine=each), style_reward=brightness)
        for each in (False, True)
    )
    batch, moved = batch_at(0), batch_at(0)
    moved.style[[0, 2, 3]] = batch.style[[2, 3, 0]]  # the second has no style
    torch.testing.assert_close(recombined(batch, 0)["reward_loss"], plain(moved, 0)["reward_loss"])
    assert not torch.isclose(recombined(batch, 0)["reward_loss"], plain(batch, 0)["reward_loss"])
    torch.testing.assert_close(recombined(batch, 0)["flow"], plain(batch, 0)["flow"])


def test_the_reward_joins_at_its_step_and_skips_samples_without_a_style() -> None:
    uso = tiny_uso()
    reward = RewardConfig(start_step=2, weight=0.5, num_steps=3)
    losses = losses_for(uso, "disentanglement", reward=reward, style_reward=brightness)
    batch = batch_at(0)
    assert set(losses(batch, 1)) == {"flow"}
    found = losses(batch, 2)
    assert set(found) == {"flow", "reward_loss"}
    seen = []

    def watching(pictures: Tensor, styles: Tensor) -> Tensor:
        seen.append(styles)
        return brightness(pictures, styles)

    watched = losses_for(uso, "disentanglement", reward=reward.model_copy(update={"batch": 2}), style_reward=watching)
    watched(batch, 2)
    torch.testing.assert_close(seen[0], batch.style[[0, 2]])
    uso.transformer.zero_grad()
    found["reward_loss"].backward()
    assert uso.transformer.proj_out.weight.grad.abs().sum() > 0
    none = replace(batch, drop_style=torch.ones(4, dtype=torch.bool))
    assert float(losses(none, 2)["reward_loss"]) == 0


def test_a_reward_is_the_same_however_the_batch_is_cut() -> None:
    """A sample without a style reference counts nothing, in whatever part of the update it lies."""
    options = {"reward": RewardConfig(num_steps=2), "style_reward": brightness}
    losses, batch = losses_for(tiny_uso(), "disentanglement", **options), batch_at(0)
    whole = losses(batch, 0)["reward_loss"]
    found = losses.numbers()["reward"]
    torch.testing.assert_close(float(whole.detach()), -found * 3 / 4)  # three of four have one
    for cut in (((0, 1), (2, 3)), ((1,), (0, 2, 3))):
        parts = [losses(rows(batch, *places), 0)["reward_loss"] * len(places) for places in cut]
        torch.testing.assert_close(sum(parts) / 4, whole)
    torch.testing.assert_close(losses.numbers()["reward"], found)
    assert losses.numbers() == {}


def fit_with_reward(folder: Path, *, part_norms: bool) -> tuple[UsoLosses, MetricsLog]:
    uso = tiny_uso()
    losses = losses_for(uso, "expert", reward=RewardConfig(num_steps=2, weight=0.5, batch=2), style_reward=brightness)
    trained = Trained(trainable(losses.denoiser))  # type: ignore[arg-type]
    state = TrainState(trained, torch.optim.AdamW(trained.parameters(), lr=1e-3))
    log = MetricsLog(folder / "m.jsonl")
    fit(state, batch_at=batch_at, losses_of=lambda batch: losses(batch, state.step),
        plan=replace(PLAN, steps=3, accumulate=2, part_norms=part_norms), checkpoint=folder / "c.pt", log=log,
        hooks=Hooks(numbers=lambda _: losses.numbers()))
    return losses, log


def test_gradient_norms_of_single_losses_are_logged_and_change_nothing(tmp_path: Path) -> None:
    (asked, log), (plain, _) = (fit_with_reward(tmp_path / str(each), part_norms=each) for each in (True, False))
    states = [each.denoiser.state_dict() for each in (asked, plain)]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    first, *_ = log.read()
    fresh = losses_for(tiny_uso(), "expert", reward=asked.reward, style_reward=brightness)
    for name, said in (("flow", "grad_norm_flow"), ("reward_loss", "grad_norm_reward")):
        fresh.denoiser.zero_grad()
        for part in range(2):
            (fresh(batch_at(part), 0)[name] / 2).backward()
        grads = [p.grad for p in fresh.denoiser.parameters() if p.grad is not None]
        assert float(first[said]) == pytest.approx(float(torch.nn.utils.get_total_norm(grads)), rel=1e-3)
    assert float(first["reward_loss"]) == pytest.approx(-0.5 * float(first["reward"]), rel=1e-4)
    assert float(first["reward"]) == pytest.approx(fresh.numbers()["reward"], rel=1e-4)


def test_a_reward_needs_its_config() -> None:
    uso = tiny_uso()
    with pytest.raises(ValueError, match="go together"):
        UsoLosses(uso, uso.denoiser, stage="expert", flow=FlowConfig(), seed=0, style_reward=brightness)


def run(folder: Path, steps: int) -> tuple[UsoPipeline, list[float]]:
    uso = tiny_uso()
    losses = losses_for(uso, "expert", reward=RewardConfig(start_step=3, num_steps=2), style_reward=brightness)
    trained = Trained(trainable(losses.denoiser))  # type: ignore[arg-type]
    state = TrainState(trained, torch.optim.AdamW(trained.parameters(), lr=1e-3))

    def losses_of(batch: Batch) -> Mapping[str, Tensor]:
        return losses(batch, state.step)

    log, stop = MetricsLog(folder / "m.jsonl"), replace(PLAN, cooldown=1e-9, steps=steps)
    fit(state, batch_at=batch_at, losses_of=losses_of, plan=stop, checkpoint=folder / "c.pt", log=log)
    return uso, [float(line["flow"]) for line in log.read()]


def test_a_resumed_training_ends_with_the_weights_of_an_unbroken_one(tmp_path: Path) -> None:
    whole, curve = run(tmp_path / "whole", 6)
    run(tmp_path / "parts", 4)
    resumed, rest = run(tmp_path / "parts", 6)
    assert rest == curve
    for name, value in whole.denoiser.state_dict().items():
        assert torch.equal(resumed.denoiser.state_dict()[name], value), name
    assert not torch.equal(whole.transformer.proj_out.weight, tiny_uso().transformer.proj_out.weight)


def test_checkpoints_hold_what_learns_and_nothing_else() -> None:
    uso = tiny_uso()
    freeze_all_but(uso, "style_alignment")
    names = set(Trained(trainable(uso.denoiser)).state_dict())
    assert names == {f"projector/{name.replace('.', '/')}" for name in uso.projector.state_dict()}
