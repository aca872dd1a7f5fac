"""The compact USO's autoencoder (`PatchAutoencoder`): principal components of patches, then training.

L1, and L1 of finite differences so that edges stay sharp. Latents get a little noise in training: what the transformer
makes is never exact, and the decoder must not care.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import pixel_unshuffle

from curate.zoo.data import EmojiData
from curate.zoo.uso_data import BaseStream, to_tensor
from pipelines.training import Ema, FitResult, MetricsLog, Plan, TrainState, fit, training_device
from pipelines.uso.patch_autoencoder import PatchAutoencoder

LATENT_CHANNELS: Final = 32
PLAN: Final = Plan(steps=1500, peak_lr=1e-3, warmup=100, cooldown=0.5, seed=21, save_every=250, log_every=50)
BATCH: Final = 32  # samples, of which content and target are both seen
EDGE_WEIGHT: Final = 0.5
NOISE: Final = 0.05  # in units of the latents' standard deviation, which is about 1
NUM_MEASURED: Final = 1024  # samples that the components are measured on


def train_vae(work: Path, data: EmojiData, *, plan: Plan = PLAN) -> tuple[PatchAutoencoder, FitResult]:
    """Train (or go on training) in `work`; gives the averaged weights."""
    torch.manual_seed(plan.seed)
    device = training_device()
    stream = BaseStream(data, seed=plan.seed)
    vae = PatchAutoencoder(latent_channels=LATENT_CHANNELS)
    set_components(vae, _images(stream, 0, batch=NUM_MEASURED))
    vae = vae.to(device).to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(vae.parameters(), lr=plan.peak_lr, betas=(0.9, 0.99), weight_decay=1e-3, foreach=True)
    state = TrainState(vae, optimiser, Ema(vae, decay=0.998))
    result = fit(
        state,
        batch_at=lambda step: _images(stream, step, batch=BATCH),
        losses_of=lambda images: losses_of(vae, images.to(device)),
        plan=plan,
        checkpoint=work / "checkpoint.pt",
        log=MetricsLog(work / "metrics.jsonl"),
        device=device,
    )
    assert state.ema is not None
    trained = PatchAutoencoder(latent_channels=LATENT_CHANNELS).to(device)
    with state.ema.applied(vae):
        trained.load_state_dict(vae.state_dict())
    return trained.eval().requires_grad_(False), result


def losses_of(vae: PatchAutoencoder, images: Tensor) -> Mapping[str, Tensor]:
    """L1, and L1 of horizontal and vertical differences; images (B, 3, H, W) in [-1, 1]."""
    latents = vae.encode(images).latent_dist.mode()
    error = vae.decode(latents + NOISE * torch.randn_like(latents)).sample.float() - images
    across = (error[..., 1:] - error[..., :-1]).abs().mean()
    down = (error[..., 1:, :] - error[..., :-1, :]).abs().mean()
    return {"l1": error.abs().mean(), "edge": EDGE_WEIGHT * (across + down)}


@torch.no_grad()
def set_components(vae: PatchAutoencoder, images: Tensor) -> None:
    """Code and inverse become the first principal components of the patches of images (B, 3, H, W).

    Each is scaled by one over the root of its standard deviation, and all to a root mean square of 1: halfway between
    raw components, whose fine ones the flow's noise would drown, and white ones, all of which would matter alike.
    """
    patches = pixel_unshuffle(images, vae.config.patch_px).permute(0, 2, 3, 1).flatten(0, 2)
    mean = patches.mean(dim=0)
    _, singular, basis = torch.linalg.svd(patches - mean, full_matrices=False)
    kept = vae.config.latent_channels
    deviation = singular[:kept] / len(patches) ** 0.5
    scale = deviation.rsqrt() / deviation.mean().sqrt()
    code = basis[:kept] * scale[:, None]
    uncode = (basis[:kept] / scale[:, None]).T
    assert vae.code.bias is not None
    assert vae.uncode.bias is not None
    vae.code.weight.copy_(code[:, :, None, None])
    vae.code.bias.copy_(-code @ mean)
    vae.uncode.weight.copy_(uncode[:, :, None, None])
    vae.uncode.bias.copy_(mean)


def _images(stream: BaseStream, step: int, *, batch: int) -> Tensor:
    samples = stream.samples_at(step, batch=batch)
    return to_tensor([image for each in samples for image in (each.content, each.target)])
