"""The whole-run configs on the hardware that their headers name: the workers, and that they fit on the cards."""

from __future__ import annotations

import re

import pytest

from curate.engine.pools import Pool, fit_pools, make_pools, place
from curate.run.config import RunConfig, load_config
from curate.run.stages import make_stages
from pipelines.editors.presets import PRESETS

ONE_EACH = {name: {"caption": 1, "destylize+stylize": 1, "csd+clip": 1, "vlm": 1}
            for name in ("flux1-kontext", "qwen-image-edit")} | {
    "flux2-klein": {"caption": 1, "destylize+stylize": 1, "clip": 1, "vlm": 1},
    "uso-paper": {"caption": 1, "destylize": 1, "stylize": 1, "csd+clip": 1, "vlm": 1}}
"""Config -> its workers with a share of a GPU, on one card."""


def opening(name: str, word: str) -> str:
    """What the header says behind ``# Word:``, on one line."""
    lines = (PRESETS.parent / f"{name}.yaml").read_text().split(f"# {word}:")[1].split("\n")
    return " ".join([lines[0], *(line[1:] for line in _until_next(lines[1:]))])


def _until_next(lines: list[str]) -> list[str]:
    end = next(i for i, line in enumerate(lines) if not line.startswith("#  "))
    return lines[:end]


def named_memory(name: str) -> dict[str, float]:
    """Worker -> GB, as the header has them."""
    return {worker: float(gb) for worker, gb in re.findall(r"(?:^|[:,]) +([a-z+]+) +(\d+)\b", opening(name, "Memory"))}


def gpu_pools(config: RunConfig) -> list[Pool]:
    steps = make_stages(config)
    return make_pools(steps, range(len(steps)), fuse=config.engine.fuse)


def cards(pools: list[Pool], counts: list[int], gpus: int) -> list[list[str]]:
    """The names of the workers on each card."""
    placed = place(pools, counts, gpus)
    assert placed is not None
    return [[pools[i].name for i in card] for card in placed]


@pytest.mark.parametrize("name", ONE_EACH)
@pytest.mark.parametrize("gpus", [1, 4])
def test_the_workers_fit_on_the_cards_of_the_header(name: str, gpus: int) -> None:
    """Every worker of the config is named with its memory, and no card holds more than it has."""
    config = load_config(PRESETS.parent / f"{name}.yaml")
    card_gb = float(re.match(r" +one (\d+) GB card", opening(name, "Hardware"))[1])  # type: ignore[index]
    pools, memory = gpu_pools(config), named_memory(name)
    counts = fit_pools(pools, cpus=64, gpus=gpus, num_jobs=100_000)
    workers = {pool.name: count for pool, count in zip(pools, counts, strict=True) if pool.resources.gpus}
    assert set(memory) == set(workers)
    if gpus == 1:
        assert workers == ONE_EACH[name]
    for card in cards(pools, counts, gpus):
        assert sum(memory[worker] for worker in card) <= card_gb, card
    for pool in pools:  # so that Ray may place them otherwise, too
        assert memory.get(pool.name, 0.0) <= pool.resources.gpus * card_gb, pool.name


def test_the_shares_that_the_headers_name_for_smaller_cards_fit() -> None:
    uso = load_config(PRESETS.parent / "uso-paper.yaml", (
        "experts.destylize.resources.gpus=0.6", "experts.stylize.resources.gpus=0.61", "captioner.resources.gpus=0.25",
        "scorers.vlm.resources.gpus=0.25"))
    qwen = load_config(PRESETS.parent / "qwen-image-edit.yaml", (
        "experts.destylize.resources.gpus=0.64", "experts.stylize.resources.gpus=0.64"))
    for config, name, gpus, changed in ((uso, "uso-paper", 2, {}),
                                        (qwen, "qwen-image-edit", 1, {"destylize+stylize": 51.0})):
        memory, pools = named_memory(name) | changed, gpu_pools(config)
        for card in cards(pools, fit_pools(pools, cpus=64, gpus=gpus, num_jobs=100_000), gpus):
            assert sum(memory[worker] for worker in card) <= 80, card
