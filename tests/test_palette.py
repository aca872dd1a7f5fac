"""Soft histograms: what they count, where gradients go, that CSD reads them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional

from filters.csd_network import CsdArch, CsdNetwork, as_drawn
from filters.csd_weights import load_csd, save_csd
from filters.palette import COUNTS, EDGE_BINS, JOINT_BINS, PIXELS, log_counts

ARCH = CsdArch(image_size=16, patch_size=8, width=32, layers=1, head_width=16, head_dim=8, palette_dim=12)


def flat(*colour: float, side: int = 16) -> torch.Tensor:
    return torch.tensor(colour).view(1, 3, 1, 1).expand(1, 3, side, side).contiguous()


def counts(images: torch.Tensor) -> torch.Tensor:
    return torch.expm1(8 * log_counts(images))


def test_every_pixel_is_counted_once_whatever_the_size() -> None:
    for side in (16, 40):
        joint = counts(torch.rand(2, 3, side, side))[:, : JOINT_BINS**3]
        torch.testing.assert_close(joint.sum(1), torch.full((2,), float(PIXELS)), rtol=1e-3, atol=0)


def test_a_colour_falls_into_its_bin_and_is_shared_with_the_next() -> None:
    top = JOINT_BINS - 1
    exact = counts(flat(1.0, 0.0, 2 / top))[0, : JOINT_BINS**3]
    assert exact.argmax() == top * JOINT_BINS**2 + 2 and exact.max() == pytest.approx(PIXELS, rel=1e-3)
    between = counts(flat(0.0, 0.0, 2.25 / top))[0, : JOINT_BINS**3]
    assert between[2:4].tolist() == pytest.approx([0.75 * PIXELS, 0.25 * PIXELS], rel=1e-3)


def test_hard_edges_count_apart_from_soft_ones() -> None:
    step = flat(0.0, 0.0, 0.0)
    step[..., 8:] = 1.0
    ramp = torch.linspace(0, 1, 16).view(1, 1, 1, 16).expand(1, 3, 16, 16)
    hard, soft = (counts(image)[0, -EDGE_BINS:] for image in (step, ramp))
    assert hard[-1] > 100 and soft[-1] == pytest.approx(0, abs=1e-3)
    assert soft[1:-1].sum() > 1000


def test_gradients_move_a_colour_towards_the_wanted_one() -> None:
    wanted, image = log_counts(flat(0.2, 0.5, 0.8)), flat(0.22, 0.5, 0.8).requires_grad_()
    before = functional.mse_loss(log_counts(image), wanted)
    (gradient,) = torch.autograd.grad(before, image)
    assert gradient[:, 0].mean() > 0  # less red


def test_csd_with_a_palette_is_saved_whole_and_its_similarity_is_a_weighed_mean_of_two(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = CsdNetwork(ARCH).eval()
    assert network.weighing is not None
    torch.nn.init.normal_(network.weighing.weight, std=3)
    save_csd(network, tmp_path / "csd")
    loaded = load_csd(tmp_path / "csd")
    assert loaded.arch.palette_dim == 12 and loaded.palette is not None and not loaded.palette.training
    images = torch.randn(2, 3, 16, 16)
    shuffled = images.flatten(2)[..., torch.randperm(256)].view_as(images)
    with torch.no_grad():
        torch.testing.assert_close(loaded(images).style, network(images).style, rtol=0.01, atol=0.01)
        style, other = network(images).style, network(shuffled).style
        head = network(images).feature @ network.last_layer_style, network(shuffled).feature @ network.last_layer_style
        palette = [network.palette(as_drawn(each)) for each in (images, shuffled)]  # type: ignore[misc]
        weights = torch.stack([network.weighing(functional.normalize(each, dim=1)).sigmoid()[:, 0] for each in head])
    torch.testing.assert_close(style.norm(dim=1), torch.ones(2))
    assert (weights - 0.5).abs().max() > 0.1
    of_head, of_palette = (1 - weights).prod(0).sqrt(), weights.prod(0).sqrt()
    wanted = of_head * functional.cosine_similarity(*head) + of_palette * functional.cosine_similarity(*palette)
    torch.testing.assert_close((style * other).sum(1), wanted)


def test_moving_pixels_leaves_colours_and_other_colours_do_not() -> None:
    images = torch.rand(2, 3, 16, 16)
    moved = images.flatten(2)[..., torch.randperm(256)].view_as(images)
    colours = log_counts(images)[:, :-EDGE_BINS]
    torch.testing.assert_close(log_counts(moved)[:, :-EDGE_BINS], colours)
    assert (log_counts(images.flip(1))[:, :-EDGE_BINS] - colours).abs().sum() > 10
    assert log_counts(images).shape == (2, COUNTS)
