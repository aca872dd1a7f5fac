"""Bench tests share these: a rendered toy emoji cache, pictures, items, and folders in the published layouts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from curate.bench.items import BenchItem, Picture, Task, picture_of
from curate.zoo import data as zoo_data
from tests.toy_emoji import toy_emoji

DREAMBENCH = """Classes

subject_name,class
backpack,backpack
cat2,cat

Prompts

Object Prompts

prompt_list = [
'a {0} {1} in the jungle'.format(unique_token, class_token),
'a red {0} {1}'.format(unique_token, class_token)
]

Live Subject Prompts

prompt_list = [
'a {0} {1} wearing a red hat'.format(unique_token, class_token),
]
"""


def fill_cache(folder: Path) -> None:
    """Toy emoji where ``load_emoji`` looks for the rendered sets."""
    folder.mkdir(parents=True, exist_ok=True)
    zoo_data.save_emoji(toy_emoji(), folder / f"emoji-{zoo_data.IMAGE_PX}-{zoo_data._version()}.npz")


def picture(seed: int, size: int = 64) -> Picture:
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    blocks = Image.fromarray(pixels).resize((size, size), Image.Resampling.NEAREST)
    return picture_of(f"picture-{seed}", np.asarray(blocks))


def item(number: int, task: Task = "combined", *, prompt: str = "red heart", seed: int = 0) -> BenchItem:
    content = picture(number) if task != "style" else None
    style = picture(100 + number) if task != "subject" else None
    return BenchItem(f"item-{number}", task, prompt, f"subject {number}", content, style, seed,
                     references=(content,) if content else ())


def save_picture(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(seed).open().save(path)


def uso_folder(root: Path, *, prompts: dict[str, list[str]]) -> Path:
    for seed, name in enumerate(["content/man_1.jpg", "content/Red Cup.png", "style/ink.png", "style/oil.webp"]):
        save_picture(root / name, seed)
    (root / "prompts.json").write_text(json.dumps(prompts))
    return root


def dreambench_folder(root: Path) -> Path:
    for subject in ("backpack", "cat2"):
        for number in (0, 1, 3):
            save_picture(root / subject / f"{number:02d}.jpg", number)
    (root / "prompts_and_classes.txt").write_text(DREAMBENCH)
    return root
