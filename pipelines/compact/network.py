"""The two networks of the compact expert: a conv U-Net that repaints, and an encoder that says in which style.

The U-Net works on pixel-unshuffled images (64 px -> 32 x 32 x 12), where no convolution runs at full resolution. It
does not draw the output from nothing but mixes, pixel by pixel, what is at hand: the image under a colour transform
that the style encoder read off the reference, the way to the wanted paper, the reference itself, and a free residue.
"""

from __future__ import annotations

from dataclasses import dataclass
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


@dataclass(frozen=True)
class Reading:
    """What the encoder reads off B references.

    choices  logits (B, n) for each choice that it was taught to make (which set, which family, which accent)
    values   (B, V): parameters of the style in [-1, 1]
    rest     (B, R): what no label says
    """

    choices: tuple[Tensor, ...]
    values: Tensor
    rest: Tensor

    def condition(self) -> Tensor:
        """(B, sum n + V + R): probabilities, parameters, rest. What `StyleEncoder.embed` takes."""
        return torch.cat([*(logits.softmax(1) for logits in self.choices), self.values, self.rest], dim=1)


@dataclass(frozen=True)
class Window:
    """A square part of a 64 px picture, in pixels; all three divisible by 16, the U-Net's stride in pixels."""

    top: int = 0
    left: int = 0
    side: int = IMAGE_PX

    def of(self, planes: Tensor, *, scale: int = 1) -> Tensor:
        """The part of (B, C, 64 / scale, 64 / scale)."""
        top, left, side = (value // scale for value in (self.top, self.left, self.side))
        return planes[..., top : top + side, left : left + side]


WHOLE: Final = Window()


class StyleEncoder(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Image -> a reading of its style -> style embedding and colour transforms.

    It sees tones, the colours at the border, and the mean and standard deviation of every channel of several conv
    levels, which keep what and how strong, and forget where: colours and textures pass, the subject hardly does. For
    the same reason the levels have no normalisation: it would take away just these two.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        channels: tuple[int, ...] = (32, 64, 96, 128),
        embed_dim: int = 256,
        fold: int = FOLD,
        num_choices: tuple[int, ...] = (9, 23, 5),
        num_values: int = 23,
        num_rest: int = 48,
        hidden: int = 512,
    ) -> None:
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
        num_seen = 2 * sum(widths) + 4 * NUM_TONES + 3 * (4 + len(PAPER_INSETS_PX))
        self.reader = nn.Sequential(
            nn.Linear(num_seen, hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden),
            nn.SiLU(),
            nn.Linear(hidden, sum(num_choices) + num_values + num_rest),
        )
        num_conditions = sum(num_choices) + num_values + num_rest
        self.embedder = nn.Sequential(nn.Linear(num_conditions, hidden), nn.SiLU(), nn.Linear(hidden, embed_dim))
        last = nn.Linear(hidden, 2 * 12)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.colour_head = nn.Sequential(nn.Linear(num_conditions, hidden), nn.SiLU(), last)

    def read(self, image: Tensor) -> Reading:
        """float (B, 3, 64, 64) in [-1, 1] -> what it says about its style."""
        features = F.pixel_unshuffle(image, self.config.fold)
        seen = [tones(image), rims(image), papers_of(image).flatten(1), _mean_and_std(features)]
        for level in self.levels:
            features = level(features)
            seen.append(_mean_and_std(features))
        sizes = [*self.config.num_choices, self.config.num_values, self.config.num_rest]
        *choices, values, rest = self.reader(torch.cat(seen, dim=1)).split(sizes, dim=1)
        return Reading(tuple(choices), values, rest)

    def embed(self, condition: Tensor) -> tuple[Tensor, Tensor]:
        """A condition -> embedding (B, embed_dim) and colour transforms (B, 2, 3, 4).

        There is one transform a task, a matrix and an offset; it is added to the identity.
        """
        return self.embedder(condition), self.colour_head(condition).unflatten(1, (2, 3, 4))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """`embed` of `read`: float (B, 3, 64, 64) in [-1, 1] -> embedding, colour transforms."""
        return self.embed(self.read(image).condition())


def rims(image: Tensor, *, rim_px: int = 3) -> Tensor:
    """Mean colours along the four sides: (B, 3, H, W) -> (B, 12)."""
    sides = [image[..., :rim_px, :], image[..., -rim_px:, :], image[..., :rim_px], image[..., -rim_px:]]
    return torch.cat([side.mean((2, 3)) for side in sides], dim=1)


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
    return UNet2DModel(
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


def repaint(unet: UNet2DModel, style_encoder: StyleEncoder, image: Tensor, reference: Tensor, task: Tensor) -> Tensor:
    """One pass, one image: float (B, 3, 64, 64) in [-1, 1] in and out; `task` int64 (B,), 0 stylize, 1 destylize.

    `reference` is the style image, or to destylize the image itself. The output is not clamped.
    """
    return paint(unet, image, reference, task, *style_encoder(reference), fold=style_encoder.config.fold)


def paint(
    unet: UNet2DModel,
    image: Tensor,
    reference: Tensor,
    task: Tensor,
    embedding: Tensor,
    transforms: Tensor,
    *,
    fold: int = FOLD,
    window: Window = WHOLE,
) -> Tensor:
    """`repaint` with a style embedding (B, embed_dim) and colour transforms (B, 2, 3, 4) that are already known.

    Of the output only the `window` is made, (B, 3, side, side): trainings see parts of pictures at a part of the cost.
    """
    recolour = transforms[torch.arange(len(task), device=task.device), task].to(image.dtype)  # (B, 3, 4)
    papers, wanted = papers_of(image), papers_of(reference)  # (B, papers, 3)
    pixels = torch.cat([image, reference, paper_likeness(image, papers), paper_likeness(reference, wanted)], dim=1)
    ways = torch.where((task == DESTYLIZE)[:, None, None], 1.0, wanted) - papers  # de-stylized paper is white
    seen = torch.cat([F.pixel_unshuffle(pixels, fold), _constants(ways, image, fold)], dim=1)
    seen = window.of(seen, scale=fold).contiguous(memory_format=torch.channels_last)
    mixing = unet(seen, timestep=task, class_labels=embedding, return_dict=False)[0]
    parts = F.pixel_shuffle(mixing.to(image.dtype), fold)  # (B, PARTS, side, side)
    image, reference = window.of(image), window.of(reference)
    recoloured = torch.einsum("boc,bchw->bohw", recolour[..., :3], image) + recolour[..., 3, None, None]
    drawn: Tensor = image + parts[:, :3] + (1 + parts[:, 3:4]) * recoloured + parts[:, -1:] * (reference - image)
    for paper in range(ways.shape[1]):
        drawn = drawn + parts[:, 4 + paper, None] * ways[:, paper, :, None, None]
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
