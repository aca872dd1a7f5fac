"""uint8 batches to what CLIP-like networks take, as their preprocessing does for images of the right size."""

import numpy as np
import torch
from numpy.typing import NDArray
from open_clip import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from torch import Tensor


def clip_pixels(images: NDArray[np.uint8]) -> Tensor:
    """uint8 (B, H, W, 3) to float32 (B, 3, H, W), CLIP's mean and standard deviation taken out."""
    mean, std = (
        torch.tensor(values).view(1, 3, 1, 1) for values in (OPENAI_DATASET_MEAN, OPENAI_DATASET_STD)
    )
    return (torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255 - mean) / std
