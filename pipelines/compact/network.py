"""The two networks of the compact expert: a conv U-Net that repaints, and an encoder that says in which style.

The U-Net works on pixel-unshuffled images (64 px -> 32 x 32 x 12), where no convolution runs at full resolution. It
does not draw the output from nothing but mixes, pixel by pixel, what is at hand: the image under a colour transform
that the style encoder read off the reference, the way to the wanted ground, the reference itself, and a free residue.
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

from pipelines.compact.echoes import NUM_ECHOES, echoes
from pipelines.compact.levels import NUM_LEVELS, levels
from pipelines.compact.palettes import FLOOR, Palettes
from pipelines.compact.papers import NUM_GROUNDS, PAPER_INSETS_PX, grounds_of, likeness, papers_of
from pipelines.compact.slots import SLOT_NUMBERS, Slots
from pipelines.compact.spectrum import NUM_FREQUENCIES, spectrum
from pipelines.compact.tones import NUM_TONES, along_curve, rims, tones

IMAGE_PX: Final = 64
FOLD: Final = 2  # pixel unshuffle: 2 x 2 pixels become channels
DESTYLIZE: Final = 1  # the timestep input of the U-Net; 0 is stylize
# Per pixel: 3 residue, 1 recoloured image, 1 reference, 1 for each ground.
PARTS: Final = 3 + 1 + 1 + NUM_GROUNDS
PLACE_CHANNELS: Final = 2  # unfolded: row and column
# Folded: image, reference, and for each ground how much a pixel of either looks like it, and the way to the wanted one.
PIXEL_CHANNELS: Final = 2 * 3 + NUM_GROUNDS * (2 + 3)


@dataclass(frozen=True)
class Reading:
    """What the encoder reads off B references.

    choices     logits (B, n) for each choice that it was taught to make (which set, which family, which accent)
    parameters  (B, n, V) for each choice but the first: what the style's parameters are in [-1, 1] if it is of a class
    rest        (B, R): what no label says
    """

    choices: tuple[Tensor, ...]
    parameters: tuple[Tensor, ...]
    rest: Tensor

    @property
    def values(self) -> Tensor:
        """(B, sum V): the parameters, by how likely each class is."""
        likely = (logits.softmax(1)[:, None] for logits in self.choices[1:])
        return torch.cat([(by @ each)[:, 0] for by, each in zip(likely, self.parameters, strict=True)], dim=1)

    def values_of(self, choices: Tensor) -> Tensor:
        """(B, sum V): the parameters of these classes, int64 (B, number of choices)."""
        rows = torch.arange(len(choices), device=choices.device)
        return torch.cat([each[rows, choices[:, at]] for at, each in enumerate(self.parameters, start=1)], dim=1)

    def as_drawn_by(self) -> list[int | None]:
        """The set that drew each reference, None for one in a parametric style."""
        sets, families = self.choices[0].argmax(1).tolist(), self.choices[1]
        plain = (families.argmax(1) == families.shape[1] - 1).tolist()
        return [which if is_plain else None for which, is_plain in zip(sets, plain, strict=True)]

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


@dataclass(frozen=True)
class Recolouring:
    """How the colours of B images change, once a task: `matrix` (B, 2, 3, 4), the last column an offset, and `curve`
    (B, 2, 3, NUM_TONES), what each luminance gets besides. Both are added to the identity."""

    matrix: Tensor
    curve: Tensor

    def of(self, image: Tensor, task: Tensor) -> Tensor:
        """What it adds to an image (B, 3, H, W); `task` int64 (B,)."""
        rows = torch.arange(len(task), device=task.device)
        matrix, curve = self.matrix[rows, task].to(image.dtype), self.curve[rows, task].to(image.dtype)
        linear = torch.einsum("boc,bchw->bohw", matrix[..., :3], image) + matrix[..., 3, None, None]
        return linear + along_curve(image, curve)


class StyleEncoder(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Image -> a reading of its style -> style embedding and recolouring.

    The first choice is the set that drew it, the second the family of its parametric style, whose last class means
    none. It sees tones, the colours at the border, and the mean and standard deviation of every channel of several
    conv levels, which keep what and how strong, and forget where: colours and textures pass, the subject hardly does.
    For the same reason the levels have no normalisation: it would take away just these two. Slots look at single places
    for their colours, a spectrum tells pitches and angles, levels in how many steps colours come, echoes shadows and
    plates out of register. Every family has parameters of its own. Which set it is, the set's exact colours say too.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        channels: tuple[int, ...] = (32, 64, 96, 128),
        embed_dim: int = 256,
        fold: int = FOLD,
        num_choices: tuple[int, ...] = (9, 23, 5),
        num_values: tuple[int, ...] = (14, 9),
        num_rest: int = 48,
        hidden: int = 512,
        num_colours: int = 64,
        num_slots: int = 24,
        reader_hidden: int = 896,
        num_mixed: int = 24,
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
        self.slots = Slots(sum(widths[:3]), channels[1], num_slots)
        num_seen = 2 * sum(widths) + 4 * NUM_TONES + 3 * (4 + len(PAPER_INSETS_PX)) + SLOT_NUMBERS * num_slots
        self.mixed = nn.Conv2d(sum(widths[:3]), num_mixed, 1)
        num_seen += NUM_FREQUENCIES + NUM_LEVELS + NUM_ECHOES + num_mixed * (num_mixed - 1) // 2
        self.register_buffer("centre", torch.zeros(num_seen))
        self.register_buffer("spread", torch.ones(num_seen))
        self.reader = nn.Sequential(
            nn.Linear(num_seen, reader_hidden),
            nn.SiLU(),
            nn.Linear(reader_hidden, hidden),
            nn.SiLU(),
            nn.Linear(hidden, sum(num_choices) + sum(self._num_parameters()) + num_rest),
        )
        self.palettes = Palettes(num_choices[0], num_colours)
        num_conditions = sum(num_choices) + sum(num_values) + num_rest
        self.embedder = nn.Sequential(nn.Linear(num_conditions, hidden), nn.SiLU(), nn.Linear(hidden, embed_dim))
        last = nn.Linear(hidden, 2 * (12 + 3 * NUM_TONES))
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.colour_head = nn.Sequential(nn.Linear(num_conditions, hidden), nn.SiLU(), last)

    def standardise(self, image: Tensor) -> None:
        """Take mean and spread of each number that the reader sees from these pictures, (B, 3, 64, 64): an
        initialisation by data as ActNorm's (Kingma and Dhariwal 2018, section 3.1), so that all learn alike."""
        with torch.no_grad():
            seen = self._see(image)
            self.centre.copy_(seen.mean(0))
            self.spread.copy_(seen.std(0).clamp(min=0.01))

    def read(self, image: Tensor) -> Reading:
        """float (B, 3, 64, 64) in [-1, 1] -> what it says about its style."""
        seen = (self._see(image) - self.centre) / self.spread
        counts, lengths = self.config.num_choices, self._num_parameters()
        *read, rest = self.reader(seen).split([*counts, *lengths, self.config.num_rest], dim=1)
        sets, *choices = read[: len(counts)]
        sets = sets + (self.palettes.membership(image) + FLOOR).log().to(sets.dtype)
        parameters = [each.unflatten(1, (n, -1)) for each, n in zip(read[len(counts) :], counts[1:], strict=True)]
        return Reading((sets, *choices), tuple(parameters), rest)

    def _num_parameters(self) -> list[int]:
        """For each choice but the first: as many as a style has, for every class."""
        return [n * each for n, each in zip(self.config.num_choices[1:], self.config.num_values, strict=True)]

    def _see(self, image: Tensor) -> Tensor:
        features = F.pixel_unshuffle(image, self.config.fold)
        seen = [tones(image), rims(image), papers_of(image).flatten(1), spectrum(image), _mean_and_std(features)]
        places = [features]
        for level in self.levels:
            features = level(features)
            seen.append(_mean_and_std(features))
            places.append(features)
        finest = torch.cat([F.interpolate(each, size=places[0].shape[-2:]) for each in places[:3]], dim=1)
        seen += [self.slots(image, finest), levels(image), echoes(image), _correlations(self.mixed(finest))]
        return torch.cat(seen, dim=1)

    def embed(self, condition: Tensor) -> tuple[Tensor, Recolouring]:
        """A condition -> embedding (B, embed_dim) and recolouring."""
        matrix, curve = self.colour_head(condition).split([2 * 12, 2 * 3 * NUM_TONES], dim=1)
        recolouring = Recolouring(matrix.unflatten(1, (2, 3, 4)), curve.unflatten(1, (2, 3, NUM_TONES)))
        return self.embedder(condition), recolouring

    def forward(self, image: Tensor) -> tuple[Reading, Tensor, Recolouring]:
        """float (B, 3, 64, 64) in [-1, 1] -> what `read` says, and `embed` of it: embedding, recolouring."""
        reading = self.read(image)
        return reading, *self.embed(reading.condition())


def build_unet(channels: tuple[int, ...], *, layers: int = 1, fold: int = FOLD) -> UNet2DModel:
    """A fresh U-Net: content, reference, their grounds and the place in, `PARTS` numbers a pixel out."""
    return UNet2DModel(
        sample_size=IMAGE_PX // fold,
        in_channels=PIXEL_CHANNELS * fold * fold + PLACE_CHANNELS,
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

    `reference` is the style image, or to destylize the image itself. What is stylized after a plain drawing of a known
    set is laid onto that set's colours.
    """
    reading, embedding, recolouring = style_encoder(reference)
    drawn = paint(unet, image, reference, task, embedding, recolouring, fold=style_encoder.config.fold).clamp(-1, 1)
    settled = [
        each if which is None or what == DESTYLIZE else style_encoder.palettes.settle(each, which)
        for each, which, what in zip(drawn, reading.as_drawn_by(), task.tolist(), strict=True)
    ]
    return torch.stack(settled)


def paint(
    unet: UNet2DModel,
    image: Tensor,
    reference: Tensor,
    task: Tensor,
    embedding: Tensor,
    recolouring: Recolouring,
    *,
    fold: int = FOLD,
    window: Window = WHOLE,
) -> Tensor:
    """`repaint` with a style embedding (B, embed_dim) and a recolouring that are already known.

    Of the output only the `window` is made, (B, 3, side, side): trainings see parts of pictures at a part of the cost.
    """
    grounds, wanted = grounds_of(image), grounds_of(reference)  # (B, NUM_GROUNDS, 3, H, W)
    undo = (task == DESTYLIZE)[:, None, None, None, None]
    ways = torch.where(undo, 1.0, wanted) - grounds  # de-stylized paper is white
    pixels = [image, reference, likeness(image, grounds), likeness(reference, wanted), ways.flatten(1, 2)]
    seen = torch.cat([F.pixel_unshuffle(torch.cat(pixels, dim=1), fold), _places(image, fold)], dim=1)
    seen = window.of(seen, scale=fold).contiguous(memory_format=torch.channels_last)
    mixing = unet(seen, timestep=task, class_labels=embedding, return_dict=False)[0]
    parts = F.pixel_shuffle(mixing.to(image.dtype), fold)  # (B, PARTS, side, side)
    residue, recoloured, copied, moved = parts[:, :3], parts[:, 3:4], parts[:, 4:5], parts[:, 5:]
    image, reference, ways = window.of(image), window.of(reference), window.of(ways)
    drawn: Tensor = image + residue + (1 + recoloured) * recolouring.of(image, task) + copied * (reference - image)
    drawn += torch.einsum("bghw,bgchw->bchw", moved, ways)
    return drawn


def _places(image: Tensor, fold: int) -> Tensor:
    """(B, PLACE_CHANNELS, 32, 32): every place's row and column in [-1, 1]."""
    line = torch.linspace(-1, 1, image.shape[-1] // fold, device=image.device, dtype=image.dtype)
    return torch.stack(torch.meshgrid(line, line, indexing="ij")).expand(len(image), -1, -1, -1)


def _mean_and_std(features: Tensor) -> Tensor:
    flat = features.float().flatten(2)
    return torch.cat([flat.mean(2), (flat.var(2, correction=0) + 1e-6).sqrt()], dim=1).to(features.dtype)


def _correlations(features: Tensor) -> Tensor:
    """Of each two channels over the places: a Gram matrix (Gatys et al. 2016, equation 3) without what mean and spread
    say. (B, C, H, W) -> (B, C (C - 1) / 2)."""
    flat = features.float().flatten(2)
    flat = flat - flat.mean(2, keepdim=True)
    flat = flat / (flat.square().sum(2, keepdim=True) + 1e-6).sqrt()
    across, down = torch.triu_indices(flat.shape[1], flat.shape[1], 1)
    return (flat @ flat.transpose(1, 2))[:, across, down].to(features.dtype)
