"""Where a training computes, and in which number format."""

import torch


def training_device() -> torch.device:
    """The GPU, where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def bf16_pays(device: torch.device) -> bool:
    """Whether bfloat16 is faster than float32 there: any GPU that has it, and CPUs with AMX.

    AVX512-BF16 alone does not pay: on a Xeon without AMX products and convolutions take 1.2 to 1.9 times as long as in
    float32. Other CPUs emulate it: the restyle U-Net trains 12 images/s in float32 and 1.0 in bfloat16 on a Zen 3 core.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_amx_tile_supported())
