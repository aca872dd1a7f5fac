"""Latents as tokens, and where tokens are: packing, and the position ids of targets and content references.

A latent (B, C, h, w) becomes (B, h/2 * w/2, 4 C) tokens, channel-major inside a token, as FLUX has it. A position id
is (0, row, column) in tokens; text and style tokens stand at (0, 0, 0). Further aligned references count up the first.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

Positions = Literal["diagonal", "aligned"]
PATCH = 2  # latent pixels along a token's side


def pack(latents: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, h/2 * w/2, 4 C). Raises ValueError for odd sizes."""
    batch, channels, height, width = latents.shape
    if height % PATCH or width % PATCH:
        raise ValueError(f"latents of {height} x {width} cannot be packed: both must be even")
    cells = latents.view(batch, channels, height // PATCH, PATCH, width // PATCH, PATCH)
    return cells.permute(0, 2, 4, 1, 3, 5).reshape(batch, -1, channels * PATCH * PATCH)


def unpack(tokens: Tensor, size: tuple[int, int]) -> Tensor:
    """Inverse of `pack` for a latent of `size` (h, w): (B, h/2 * w/2, 4 C) -> (B, C, h, w)."""
    height, width = size
    batch, _, depth = tokens.shape
    cells = tokens.view(batch, height // PATCH, width // PATCH, depth // PATCH**2, PATCH, PATCH)
    return cells.permute(0, 3, 1, 4, 2, 5).reshape(batch, depth // PATCH**2, height, width)


def position_ids(size: tuple[int, int], *, offset: tuple[int, int] = (0, 0)) -> Tensor:
    """float32 (h/2 * w/2, 3): ids of a latent of `size`, moved down and right by `offset` tokens."""
    rows = torch.arange(size[0] // PATCH) + offset[0]
    columns = torch.arange(size[1] // PATCH) + offset[1]
    places = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), dim=-1).reshape(-1, 2)
    return torch.cat([torch.zeros(len(places), 1), places.float()], dim=1)


def image_ids(target: tuple[int, int], contents: Sequence[tuple[int, int]], positions: Positions) -> Tensor:
    """Ids of the target's tokens and, after them, of each content reference's: float32 (tokens, 3).

    diagonal  each reference begins where the former image ends, in rows and in columns (UnoPE, arXiv 2504.02160;
              bytedance/USO@b6784d7 `prepare_multi_ip`, pe="d")
    aligned   each reference lies over the target, the second at (1, row, column) and so on, or attention could not tell
              which of two is which. Our choice for compact models, which learn to copy sooner from it
    """
    ids, offset = [position_ids(target)], (target[0] // PATCH, target[1] // PATCH)
    for which, size in enumerate(contents):
        if positions == "diagonal":
            ids.append(position_ids(size, offset=offset))
        else:
            ids.append(position_ids(size) + torch.tensor([which, 0, 0]))
        offset = (offset[0] + size[0] // PATCH, offset[1] + size[1] // PATCH)
    return torch.cat(ids)
