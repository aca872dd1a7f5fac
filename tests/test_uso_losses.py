"""Flow matching and style reward learning: what is drawn, what the losses are, where gradients go."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from filters.csd_network import CsdArch, CsdNetwork
from filters.csd_reward import CsdReward
from filters.csd_score import CsdScore
from filters.csd_weights import save_csd
from pipelines.uso.encoders import decode_latents
from pipelines.uso.flow import FlowConfig, flow_losses, noise_at, noised, sigmas_at
from pipelines.uso.model import Conditions, UsoDenoiser
from pipelines.uso.pipeline import UsoPipeline
from pipelines.uso.reward import RewardConfig, estimate, gradient_step, rewards
from pipelines.uso.schedule import shift_mu, shifted
from tests.tiny_uso import tiny_uso

NONE = FlowConfig(shift="none")


@pytest.fixture(scope="module")
def uso() -> UsoPipeline:
    return tiny_uso()


def conditions(uso: UsoPipeline, count: int = 2) -> Conditions:
    pictures = [Image.fromarray(np.random.default_rng(n).integers(0, 255, (64, 64, 3), np.uint8)) for n in range(4)]
    with torch.no_grad():
        text = uso.encode_prompt(["a red tent"] * count)
        return uso.encode(*text, [[pictures[0]]] * count, [[pictures[1]]] * count)


def test_randomness_belongs_to_the_position_not_to_the_batch() -> None:
    together = noise_at(7, [3, 4, 5], (2, 4, 4), "noise")
    torch.testing.assert_close(noise_at(7, [5], (2, 4, 4), "noise"), together[2:], rtol=0, atol=0)
    assert (together[0] - together[1]).abs().max() > 0.1
    assert (noise_at(8, [3], (2, 4, 4), "noise")[0] - together[0]).abs().max() > 0.1
    torch.testing.assert_close(sigmas_at(NONE, 7, [4], (8, 8)), sigmas_at(NONE, 7, [3, 4], (8, 8))[1:])


def test_noise_levels_follow_their_distribution_and_the_shift() -> None:
    positions = list(range(4000))
    uniform = sigmas_at(NONE, 0, positions, (8, 8))
    assert uniform.min() > 0 and uniform.max() <= 1
    assert uniform.mean() == pytest.approx(0.5, abs=0.02) and uniform.std() == pytest.approx(12**-0.5, abs=0.02)
    normal = sigmas_at(FlowConfig(timesteps="logit_normal", mean=1.0, std=0.5, shift="none"), 0, positions, (8, 8))
    logits = torch.logit(normal)
    assert logits.mean() == pytest.approx(1.0, abs=0.05) and logits.std() == pytest.approx(0.5, abs=0.05)
    moved = sigmas_at(FlowConfig(), 0, positions, (128, 128))
    torch.testing.assert_close(moved, shifted(uniform, shift_mu((128, 128))))


def test_noised_latents_lie_between_image_and_noise() -> None:
    latents = torch.randn(3, 2, 4, 4)
    at = noised(NONE, latents, seed=1, positions=[0, 1, 2])
    for place in range(3):
        sigma = at.sigma[place]
        torch.testing.assert_close(at.latents[place], latents[place] * (1 - sigma) + at.noise[place] * sigma)


def test_the_flow_loss_is_the_squared_error_of_the_velocity(uso: UsoPipeline) -> None:
    given, latents = conditions(uso), torch.randn(2, 4, 8, 8)
    at = noised(NONE, latents, seed=1, positions=[0, 1])
    found = flow_losses(uso.denoiser, latents, given, at, guidance=1.0)
    velocity = uso.denoiser(at.latents, at.sigma, given, 1.0)
    torch.testing.assert_close(found, (velocity - (at.noise - latents)).square().flatten(1).mean(1))
    assert (flow_losses(uso.denoiser, latents, given, at, guidance=4.0) - found).abs().max() > 1e-6


def test_the_estimate_is_euler_steps_and_one_jump_to_the_image(uso: UsoPipeline) -> None:
    config, given, noise = RewardConfig(num_steps=4), conditions(uso), torch.randn(2, 4, 8, 8)
    levels = shifted(torch.linspace(1, 0, 5), shift_mu((8, 8)))
    with torch.no_grad():
        latents = noise
        for at in range(4):
            velocity = uso.denoiser(latents, levels[at].expand(2), given, 1.0)
            expected = latents - levels[at] * velocity
            torch.testing.assert_close(estimate(config, uso.denoiser, noise, given, at=at), expected)
            latents = latents + (levels[at + 1] - levels[at]) * velocity


def test_only_the_drawn_step_carries_a_gradient(uso: UsoPipeline) -> None:
    calls: list[bool] = []

    class Counting(UsoDenoiser):
        def forward(self, *args: object, **kwargs: object) -> torch.Tensor:
            calls.append(torch.is_grad_enabled())
            return super().forward(*args, **kwargs)  # type: ignore[arg-type]

    denoiser = Counting(uso.transformer, uso.projector, positions="diagonal")
    found = rewards(
        RewardConfig(num_steps=5), denoiser, uso.vae, lambda pictures, styles: pictures.mean((1, 2, 3)),
        torch.randn(2, 4, 8, 8), conditions(uso), torch.zeros(2, 3, 8, 8), at=3,
    )
    assert calls == [False, False, False, True]
    uso.transformer.zero_grad()
    found.mean().backward()
    assert uso.transformer.x_embedder.weight.grad.abs().sum() > 0


def test_rewards_score_the_decoded_estimate(uso: UsoPipeline) -> None:
    config, given, noise = RewardConfig(num_steps=3), conditions(uso), torch.randn(2, 4, 8, 8)
    styles = torch.rand(2, 3, 8, 8)
    found = rewards(config, uso.denoiser, uso.vae, lambda p, s: (p.mean((1, 2, 3)) * s.mean((1, 2, 3))), noise, given,
                    styles, at=1)
    pictures = decode_latents(uso.vae, estimate(config, uso.denoiser, noise, given, at=1))
    torch.testing.assert_close(found, pictures.mean((1, 2, 3)) * styles.mean((1, 2, 3)))


def test_climbing_the_reward_raises_it() -> None:
    """A few steps on -R alone: the reward of a fixed noise rises, so the gradient points the right way."""
    uso, config = tiny_uso(seed=3), RewardConfig(num_steps=2, window=(0.0, 1.0))
    given, noise, styles = conditions(uso), torch.randn(2, 4, 8, 8), torch.full((2, 3, 8, 8), 0.8)
    optimizer = torch.optim.Adam(uso.transformer.parameters(), lr=3e-3)

    def brightness(pictures: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        return -(pictures.mean((1, 2, 3)) - wanted.mean((1, 2, 3))).square()

    history = []
    for _ in range(8):
        found = rewards(config, uso.denoiser, uso.vae, brightness, noise, given, styles, at=1).mean()
        optimizer.zero_grad()
        (-found).backward()
        optimizer.step()
        history.append(float(found.detach()))
    assert history[-1] > history[0] + 0.01


def test_lambda_starts_at_s_and_the_window_bounds_the_step() -> None:
    config = RewardConfig(start_step=10, weight=0.5, num_steps=20, window=(0.5, 0.75))
    assert [config.weight_at(step) for step in (0, 9, 10, 99)] == [0, 0, 0.5, 0.5]
    drawn = {gradient_step(config, seed=0, step=step) for step in range(300)}
    assert drawn == {10, 11, 12, 13, 14}
    assert gradient_step(config, seed=0, step=5) == gradient_step(config, seed=0, step=5)
    with pytest.raises(ValidationError, match="window"):
        RewardConfig(window=(0.9, 0.5))


@pytest.mark.parametrize(("num_steps", "window", "only"), [(8, (0.95, 1.0), 7), (2, (0.8, 0.9), 1), (1, (0.6, 0.9), 0)])
def test_the_step_with_gradient_is_one_that_still_has_noise(
    num_steps: int, window: tuple[float, float], only: int
) -> None:
    config = RewardConfig(num_steps=num_steps, window=window)
    assert {gradient_step(config, seed=0, step=step) for step in range(20)} == {only}


def test_the_csd_reward_is_the_scorers_similarity_with_a_gradient(tmp_path: object) -> None:
    torch.manual_seed(0)
    network = CsdNetwork(
        CsdArch(image_size=32, patch_size=8, width=32, layers=1, head_width=16, quick_gelu=False, head_dim=8)
    )
    save_csd(network, tmp_path)  # type: ignore[arg-type]
    score = CsdScore(tmp_path, device="cpu", dtype="float32", batch=4)  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    images = [Image.fromarray(rng.integers(0, 255, (48, 40, 3), np.uint8)) for _ in range(2)]
    tensors = torch.stack([torch.from_numpy(np.array(each)).permute(2, 0, 1) / 127.5 - 1 for each in images])
    tensors.requires_grad_(True)
    with torch.no_grad():
        one, two = (score.network(score.preprocess(each)[None]).style for each in images)
    found = CsdReward(score.network)(tensors[:1], tensors[1:].detach())
    assert float(found.detach()) == pytest.approx(float((one * two).sum()), abs=0.02)  # PIL rounds after resizing
    found.sum().backward()
    assert tensors.grad is not None and tensors.grad[0].abs().sum() > 0 and tensors.grad[1].abs().sum() == 0
