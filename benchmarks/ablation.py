"""The paper's ablations at compact scale, on emoji-bench: does their order hold?

    python benchmarks/ablation.py --seeds 0 1 2          some 15 minutes a seed and variant on a CPU core; resumes
    python benchmarks/ablation.py --variants full no-srl --seeds 0

full            both stages, style reward in the second (configs/train/compact_stage{1,2}.yaml)
no-srl          the same without the reward
no-alignment    no stage 1: projector and transformer learn together for the steps of both stages
shared-encoder  the style image goes through the VAE as the content does: no vision encoder, no projector
resampler, mlp  other projectors over the same vision encoder

All see the same data in the same order for the same number of steps. Reward and CSD metric are one model (the zoo has
one), so read `style_nearer` and `set_top1`, by a network trained apart, beside it. The paper's order (arXiv
2508.18966): full > no SRL > no alignment > shared encoder; hierarchical > resampler > mlp.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from curate.bench.bootstrap import bootstrap_difference
from curate.bench.command import run_bench
from curate.config import load_yaml, parse
from curate.train.config import TrainConfig
from curate.train.training import train

VARIANTS = ("full", "no-srl", "no-alignment", "shared-encoder", "resampler", "mlp")
CHANGES: dict[str, dict[str, Any]] = {
    "shared-encoder": {"style_encoding": "vae", "projector": "none"},
    "resampler": {"projector": "resampler"},
    "mlp": {"projector": "mlp"},
}
"""Config of the first training of a variant; the second's base has it."""
STAGE1, STAGE2 = Path("configs/train/compact_stage1.yaml"), Path("configs/train/compact_stage2.yaml")
BENCH = Path("configs/bench/uso_compact.yaml")
SHOWN = ("combined", "clip_i", "csd", "clip_t", "style_nearer", "set_top1", "subject_top1", "l1", "copy_paste")


def main() -> None:
    """Train what is missing, bench all, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=VARIANTS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"))
    parser.add_argument("--data", default=None, help="Sealed shards; default: those of the configs.")
    options = parser.parse_args()
    models = {
        f"{variant}-{seed}": train_variant(options.out, variant, seed, options.data)
        for seed in options.seeds
        for variant in options.variants
    }
    bench(options.out, models)
    show(json.loads((options.out / "bench" / "bench.json").read_text()), options.variants)
    show_differences(options.out / "bench" / "scores.jsonl", options.variants, first="full")


def train_variant(out: Path, variant: str, seed: int, data: str | None) -> Path:
    """The folder of the trained model."""
    one, two = (load_yaml(path)[0] for path in (STAGE1, STAGE2))
    base = one["base"]
    for config in (one, two):
        config["seed"] = seed
        config["cache"] = str(out / "cache")
        if data:
            config["data"]["datasets"] = [{"path": data}]
    one |= {**CHANGES.get(variant, {}), "out": str(out / f"{variant}-{seed}" / "stage1")}
    two |= {"base": f"{one['out']}/model", "out": str(out / f"{variant}-{seed}" / "stage2")}
    if variant == "no-srl":
        one = {**one, "out": str(out / f"full-{seed}" / "stage1")}  # stage 1 is that of the full variant
        two |= {"reward": None, "base": f"{one['out']}/model"}
    if variant in ("no-alignment", "shared-encoder"):
        two |= {**CHANGES.get(variant, {}), "base": base, "stage": "expert", "steps": one["steps"] + two["steps"]}
        two["reward"]["start_step"] += one["steps"]
    else:
        train(parse(TrainConfig, one))
    train(parse(TrainConfig, two))
    return Path(two["out"]) / "model"


def bench(out: Path, models: dict[str, Path]) -> None:
    """emoji-bench over all models."""
    config = yaml.safe_load(BENCH.read_text())
    config["output"] = str(out / "bench")
    pipelines = [
        {"name": name, "kind": "pipeline", "batch": 32, "expert": {"model": str(model), "steps": 16}}
        for name, model in models.items()
    ]
    config["baselines"] = ["copy-content", "untrained"]
    config["systems"] = [each for each in config["systems"] if each["name"] in config["baselines"]] + pipelines
    path = out / "bench.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    run_bench(path, ())


def show(summary: dict[str, Any], variants: Sequence[str]) -> None:
    """Mean over seeds of each figure of the combined task, with the spread of the seeds' means."""
    measured = summary["measured"]
    print("| variant | seeds | " + " | ".join(SHOWN) + " |")
    print("|---" * (len(SHOWN) + 2) + "|")
    for variant in ("copy-content", "untrained", *variants):
        systems = [name for name in measured if name.rsplit("-", 1)[0] == variant or name == variant]
        cells = []
        for column in SHOWN:
            figures = [measured[name]["combined"]["figures"].get(column) for name in systems]
            found = [figure for figure in figures if figure]
            if len(found) == 1:
                cells.append(f"{found[0]['value']:.3f} [{found[0]['low']:.3f}, {found[0]['high']:.3f}]")
            elif found:
                values = np.array([figure["value"] for figure in found])
                cells.append(f"{values.mean():.3f} ({values.min():.3f} to {values.max():.3f})")
            else:
                cells.append("")
        print(f"| {variant} | {len(systems)} | " + " | ".join(cells) + " |")


def show_differences(scores: Path, variants: Sequence[str], *, first: str) -> None:
    """`first` minus each other variant in the combined task: items paired, mean over seeds, 95 % over subjects. These
    intervals do not hold the spread of seeds, which the table before shows."""
    table = pd.read_json(scores, lines=True)
    table = table[table["task"] == "combined"]
    table["variant"] = table["system"].str.rsplit("-", n=1).str[0]
    means = {name: of.groupby("id")[list(SHOWN)].mean() for name, of in table.groupby("variant")}
    subjects = table.groupby("id")["subject"].first()
    print(f"\n| {first} minus | " + " | ".join(SHOWN) + " |")
    print("|---" * (len(SHOWN) + 1) + "|")
    for other in (name for name in variants if name != first):
        pairs = [
            bootstrap_difference(
                means[first][column].to_numpy(),
                means[other][column].reindex(means[first].index).to_numpy(),
                subjects.reindex(means[first].index).tolist(),
                seed=0,
            )
            for column in SHOWN
        ]
        cells = [f"{pair.value:+.3f} [{pair.low:+.3f}, {pair.high:+.3f}]" if pair else "" for pair in pairs]
        print(f"| {other} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
