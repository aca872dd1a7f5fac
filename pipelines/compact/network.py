"""The two networks of the compact expert: a conv U-Net that repaints, and an encoder that says in which style.

The U-Net works on pixel-unshuffled images (64 px -> 32 x 32 x 12), where no convolution runs at full resolution. It
does not draw the output from nothing but corrects, pixel by pixel, a mixture of what is at hand: the image with its
paper exchanged, the image under a colour transform that the style encoder read off the reference, the reference
itself, and a free residue.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import torch
from diffusers import UNet2DModel
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.nn import functional as F

from pipelines.compact.layout import paper_of

IMAGE_PX: Final = 64
FOLD: Final = 2  # pixel unshuffle: 2 x 2 pixels become channels
DESTYLIZE: Final = 1  # the timestep input of the U-Net; 0 is stylize
PAPER_INSETS_PX: Final = (0, 6)  # where the paper's colour is read: at the border, and inside of a frame
# Per pixel: 3 residue, 1 colour transform, 1 for each paper, 1 reference.
PARTS: Final = 3 + 1 + len(PAPER_INSETS_PX) + 1
# Unfolded: row and column, and the way from the image's paper to the wanted one, for each inset.
CONSTANT_CHANNELS: Final = 2 + 3 * len(PAPER_INSETS_PX)
# Folded: image, reference, and how much each pixel of either looks like its paper, for each inset.
PIXEL_CHANNELS: Final = 2 * (3 + len(PAPER_INSETS_PX))
NUM_TONES: Final = 8  # luminance bands of the tone statistics
# A squared colour distance of 1 / 20, in [-1, 1] (6 % of the range in each channel), is 1 / e alike.
LIKENESS_SHARPNESS: Final = 20.0


class StyleEncoder(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Image -> style embedding and colour transforms, from tones and from the statistics of several conv levels.

    Mean and standard deviation of every channel keep what and how strong, and forget where: colours and textures
    pass, the subject hardly does. For the same reason the levels have no normalisation: it would take away just these
    two.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(self, channels: tuple[int, ...] = (32, 64, 96, 128), embed_dim: int = 256, fold: int = FOLD) -> None:
        super().__init__()
        widths = (3 * fold * fold, *channels)
        self.levels = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(before, after, 3, stride=1 if level == 0 else 2, padding=1),
                nn.SiLU(),
                nn.Conv2d(after, after, 3, padding=1),
                nn.SiLU(),
            )
            for level, (before, after) in enumerate(pairwise(widths))
        )
        for module in self.levels.modules():
            if isinstance(module, nn.Conv2d):  # keeps the scale from level to level, as no norm does
                nn.init.kaiming_normal_(module.weight)
                assert module.bias is not None
                nn.init.zeros_(module.bias)
        num_statistics = 2 * sum(widths) + 4 * NUM_TONES
        self.head = nn.Sequential(nn.Linear(num_statistics, embed_dim), nn.SiLU(), nn.Linear(embed_dim, embed_dim))
        self.colour_head = nn.Linear(embed_dim, 2 * 12)
        nn.init.zeros_(self.colour_head.weight)
        nn.init.zeros_(self.colour_head.bias)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """float (B, 3, 64, 64) in [-1, 1] -> embedding (B, embed_dim) and colour transforms (B, 2, 3, 4).

        There is one transform a task, a matrix and an offset; it is added to the identity.
        """
        features = F.pixel_unshuffle(image, self.config.fold)
        statistics = [tones(image), _mean_and_std(features)]
        for level in self.levels:
            features = level(features)
            statistics.append(_mean_and_std(features))
        embedding = self.head(torch.cat(statistics, dim=1))
        return embedding, self.colour_head(F.silu(embedding)).unflatten(1, (2, 3, 4))


def tones(image: Tensor) -> Tensor:
    """Mean colour and share of each luminance band, darkest first: (B, 3, H, W) in [-1, 1] -> (B, 4 * NUM_TONES)."""
    luma = torch.tensor([0.299, 0.587, 0.114], dtype=image.dtype, device=image.device)  # ITU-R BT.601
    light = torch.einsum("bchw,c->bhw", image, luma).flatten(1)
    centres = torch.linspace(-1, 1, NUM_TONES, dtype=image.dtype, device=image.device)
    bands = (1 - (light[:, None] - centres[:, None]).abs() * (NUM_TONES - 1) / 2).clamp(min=0)  # (B, tones, H W), sum 1
    share = bands.mean(2, keepdim=True)
    colour = bands @ image.flatten(2).transpose(1, 2) / light.shape[1]
    return torch.cat([colour / (share + 0.01), share], dim=2).flatten(1)


def build_unet(channels: tuple[int, ...], *, layers: int = 1, fold: int = FOLD) -> UNet2DModel:
    """A fresh U-Net: content, reference and constants in, `PARTS` numbers a pixel out."""
    unet = UNet2DModel(
        sample_size=IMAGE_PX // fold,
        in_channels=PIXEL_CHANNELS * fold * fold + CONSTANT_CHANNELS,
        out_channels=PARTS * fold * fold,
        block_out_channels=channels,
        down_block_types=("DownBlock2D",) * len(channels),
        up_block_types=("UpBlock2D",) * len(channels),
        layers_per_block=layers,
        class_embed_type="identity",
        resnet_time_scale_shift="scale_shift",
        add_attention=False,
        norm_num_groups=16,
    )
    nn.init.zeros_(unet.conv_out.weight)  # training starts from the mixture as it is
    nn.init.zeros_(unet.conv_out.bias)
    return unet


def repaint(unet: UNet2DModel, style_encoder: StyleEncoder, image: Tensor, reference: Tensor, task: Tensor) -> Tensor:
    """One pass, one image: float (B, 3, 64, 64) in [-1, 1] in and out; `task` int64 (B,), 0 stylize, 1 destylize.

    `reference` is the style image, or to destylize the image itself. The output is not clamped.
    """
    fold = style_encoder.config.fold
    embedding, transforms = style_encoder(reference)
    recolour = transforms[torch.arange(len(task), device=task.device), task].to(image.dtype)  # (B, 3, 4)
    papers, wanted = papers_of(image), papers_of(reference)  # (B, papers, 3)
    alike = paper_likeness(image, papers)  # (B, papers, 64, 64)
    pixels = torch.cat([image, reference, alike, paper_likeness(reference, wanted)], dim=1)
    ways = torch.where((task == DESTYLIZE)[:, None, None], 1.0, wanted) - papers  # de-stylized paper is white
    seen = torch.cat([F.pixel_unshuffle(pixels, fold), _constants(ways, image, fold)], dim=1)
    seen = seen.contiguous(memory_format=torch.channels_last)
    mixing = unet(seen, timestep=task, class_labels=embedding, return_dict=False)[0]
    parts = F.pixel_shuffle(mixing.to(image.dtype), fold)  # (B, PARTS, 64, 64)
    recoloured = torch.einsum("boc,bchw->bohw", recolour[..., :3], image) + recolour[..., 3, None, None]
    drawn: Tensor = image + parts[:, :3] + (1 + parts[:, 3:4]) * recoloured + parts[:, -1:] * (reference - image)
    unclaimed = torch.ones_like(alike[:, :1])
    for paper in range(ways.shape[1]):
        share = alike[:, paper, None] * unclaimed
        unclaimed = unclaimed - share
        drawn = drawn + (parts[:, 4 + paper, None] + share) * ways[:, paper, :, None, None]
    return drawn


def papers_of(image: Tensor) -> Tensor:
    """The paper colours of (B, 3, H, W), one for each inset: (B, papers, 3)."""
    return torch.stack([paper_of(image, inset_px=inset) for inset in PAPER_INSETS_PX], dim=1)


def paper_likeness(image: Tensor, papers: Tensor) -> Tensor:
    """How much each pixel has a paper's colour, 1 for equal: (B, papers, H, W) of (B, 3, H, W) and (B, papers, 3)."""
    apart = (image[:, None] - papers[..., None, None]).square().sum(2)
    return torch.exp(-LIKENESS_SHARPNESS * apart)


def _constants(ways: Tensor, image: Tensor, fold: int) -> Tensor:
    """(B, CONSTANT_CHANNELS, 32, 32): every place's row and column in [-1, 1], and the ways."""
    side = image.shape[-1] // fold
    line = torch.linspace(-1, 1, side, device=image.device, dtype=image.dtype)
    place = torch.stack(torch.meshgrid(line, line, indexing="ij")).expand(len(image), -1, -1, -1)
    return torch.cat([place, ways.flatten(1)[..., None, None].expand(-1, -1, side, side)], dim=1)


def _mean_and_std(features: Tensor) -> Tensor:
    flat = features.float().flatten(2)
    return torch.cat([flat.mean(2), (flat.var(2, correction=0) + 1e-6).sqrt()], dim=1).to(features.dtype)
