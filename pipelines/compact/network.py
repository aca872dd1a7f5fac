"""The two networks of the compact expert: a conv U-Net that repaints, and an encoder that says in which style.

The U-Net works on pixel-unshuffled images (64 px -> 32 x 32 x 12), where no convolution runs at full resolution. It sees the content
image, the style reference and every pixel's place; the reference also reaches it as an embedding (`class_embed_type="identity"`).
"""

import torch
from diffusers import UNet2DModel
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.nn import functional as F

IMAGE_PX = 64
FOLD = 2  # pixel unshuffle: 2 x 2 pixels become channels
PLACE_CHANNELS = 2


class StyleEncoder(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Image -> style embedding: mean and standard deviation of every channel of several conv levels, then two linear layers.

    Statistics over all positions keep what and how strong, and forget where: colours and textures pass, the subject hardly does.
    """

    @register_to_config
    def __init__(self, channels: tuple[int, ...] = (32, 64, 96, 128), embed_dim: int = 256, fold: int = FOLD) -> None:
        super().__init__()
        widths = (3 * fold * fold, *channels)
        self.levels = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(before, after, 3, stride=1 if level == 0 else 2, padding=1),
                nn.GroupNorm(8, after),
                nn.SiLU(),
                nn.Conv2d(after, after, 3, padding=1),
                nn.SiLU(),
            )
            for level, (before, after) in enumerate(zip(widths[:-1], widths[1:], strict=True))
        )
        self.head = nn.Sequential(nn.Linear(2 * (widths[0] + sum(channels)), embed_dim), nn.SiLU(), nn.Linear(embed_dim, embed_dim))

    def forward(self, image: Tensor) -> Tensor:
        """float (B, 3, 64, 64) in [-1, 1] -> (B, embed_dim)."""
        features = F.pixel_unshuffle(image, self.config.fold)
        statistics = [_mean_and_std(features)]
        for level in self.levels:
            features = level(features)
            statistics.append(_mean_and_std(features))
        embedding: Tensor = self.head(torch.cat(statistics, dim=1))
        return embedding


def build_unet(channels: tuple[int, ...], *, layers: int = 1, fold: int = FOLD) -> UNet2DModel:
    """A fresh U-Net: content, reference and place in, image out."""
    folded = 3 * fold * fold
    return UNet2DModel(
        sample_size=IMAGE_PX // fold,
        in_channels=2 * folded + PLACE_CHANNELS,
        out_channels=folded,
        block_out_channels=channels,
        down_block_types=("DownBlock2D",) * len(channels),
        up_block_types=("UpBlock2D",) * len(channels),
        layers_per_block=layers,
        class_embed_type="identity",
        resnet_time_scale_shift="scale_shift",
        add_attention=False,
        norm_num_groups=16,
    )


def repaint(unet: UNet2DModel, style_encoder: StyleEncoder, image: Tensor, reference: Tensor, task: Tensor) -> Tensor:
    """One pass, one image: float (B, 3, 64, 64) in [-1, 1] in and out; `task` int64 (B,).

    The output is the input plus what the U-Net adds; it is not clamped.
    """
    fold = style_encoder.config.fold
    embedding = style_encoder(reference)
    folded = F.pixel_unshuffle(image, fold)
    side = folded.shape[-1]
    line = torch.linspace(-1, 1, side, device=image.device, dtype=image.dtype)
    place = torch.stack(torch.meshgrid(line, line, indexing="ij")).expand(len(image), -1, -1, -1)
    seen = torch.cat([folded, F.pixel_unshuffle(reference, fold), place], dim=1).contiguous(memory_format=torch.channels_last)
    added = unet(seen, timestep=task, class_labels=embedding, return_dict=False)[0]
    return F.pixel_shuffle(folded.to(added.dtype) + added, fold)


def _mean_and_std(features: Tensor) -> Tensor:
    flat = features.float().flatten(2)
    return torch.cat([flat.mean(2), (flat.var(2, correction=0) + 1e-6).sqrt()], dim=1).to(features.dtype)
