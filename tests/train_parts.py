"""What trainings at toy size need: a base, a reward model, sealed shards, a config; and the command itself."""

from __future__ import annotations

from pathlib import Path

import torch
import yaml
from typer.testing import CliRunner

from curate.cli import app
from filters.csd_network import CsdArch, CsdNetwork
from filters.csd_weights import save_csd
from tests.test_train_data import make_dataset
from tests.tiny_uso import tiny_uso


def make_parts(folder: Path) -> Path:
    """base/, csd/ and shards/ to train from."""
    tiny_uso().save_pretrained(folder / "base")
    torch.manual_seed(0)
    arch = CsdArch(
        image_size=32, patch_size=8, width=32, layers=1, head_width=16, quick_gelu=False, head_dim=8
    )
    save_csd(CsdNetwork(arch), folder / "csd")
    make_dataset(folder / "run", 12, size=lambda _: (64, 64)).rename(folder / "shards")
    return folder


def write(parts: Path, out: Path, **changes: object) -> Path:
    config = {
        "out": str(out),
        "base": str(parts / "base"),
        "stage": "disentanglement",
        "learn": "full",
        "data": {"datasets": [{"path": str(parts / "shards")}], "size_px": 64, "style_px": 32, "shuffle_buffer": 4},
        "samples": {"count": 2, "steps": 2, "split": "train"},
        "optimiser": {"lr": 0.001, "warmup": 1},
        "steps": 4,
        "batch": 3,
        "log_every": 1,
        "save_every": 2,
        "bf16": False,
        **changes,
    }
    path = out.with_suffix(".yaml")
    path.write_text(yaml.safe_dump(config))
    return path


def run(path: Path, *options: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["train", str(path), *options])
    return done.exit_code, done.output + str(done.exception or "")
