"""How much of the gap between unfiltered and true triplets does curation close? The same training on three sets.

    python benchmarks/data_study.py --seeds 0 1 2          data 2 minutes, then some 13 minutes a training; resumes

One run of the quick start at five times its size makes the candidates. Of the same candidates:
  curated     what the default rules keep
  unfiltered  all of them
  truth       for each of the curated units, content and style reference as they are drawn, not as experts make them
              (a shifted layout moves the true content by a drawn similarity)
Each is trained on for equal steps (configs/train/compact_stage{1,2}.yaml) and benched on emoji-bench. Equal steps, not
equal samples: unfiltered has more of them, which is what one gives up by filtering.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import pandas as pd
import torch
from ablation import bench, show, show_differences, train_variant

from curate import seeds
from curate.files import write_json
from curate.images import decode, encode, from_array, from_unit_range, to_unit_range
from curate.parametric import PRESETS, apply_style, plain
from curate.records import SourceItem, Unit
from curate.run.command import run_config, seal_run
from curate.seal import SealConfig
from curate.seal.samples import Members, build_sample, member_suffixes
from curate.seal.sealing import FORMAT, SPLITS
from curate.seal.shards import write_shards
from curate.sources.emoji import AS_DRAWN, Drawing, render_svg
from curate.store import RunStore
from pipelines.compact.layout import draw_similarity, transform

CONFIG, SIZE_PX = Path("configs/quickstart.yaml"), 64
DATASETS = ("curated", "unfiltered", "truth")


def main() -> None:
    """Make the sets that are missing, train, bench, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--targets", type=int, default=600)
    parser.add_argument("--out", type=Path, default=Path("runs/data-study"))
    options = parser.parse_args()
    make_datasets(options.out, options.targets)
    models = {
        f"{name}-{seed}": train_variant(options.out / name, "full", seed, str(options.out / f"{name}-shards"))
        for seed in options.seeds
        for name in DATASETS
    }
    bench(options.out, models)
    show(json.loads((options.out / "bench" / "bench.json").read_text()), DATASETS)
    show_differences(options.out / "bench" / "scores.jsonl", DATASETS, first="curated")


def make_datasets(out: Path, targets: int) -> None:
    """Three folders of shards, each complete or absent."""
    if all((out / f"{name}-shards" / "dataset.json").is_file() for name in DATASETS):
        return
    run = out / "run"
    # no cascade: the unfiltered set needs all scores of all candidates
    changes = (f"output={run}", f"sources.input.count={targets}", "engine.kind=local", "cascade=[]")
    run_config(CONFIG, changes, dry_run=False, retry_failed=False)
    no_rules = out / "no-rules.yaml"
    no_rules.write_text("rules: []\n")
    seal_run(run, no_rules, ())
    keep(run, out / "unfiltered-shards")
    seal_run(run, CONFIG, ())
    keep(run, out / "curated-shards")
    write_truth(RunStore.open(run, sweep=False), out / "truth-shards")


def keep(run: Path, folder: Path) -> None:
    """Copy the sealed set."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(run / "shards", folder)


def write_truth(store: RunStore, folder: Path) -> None:
    """The kept units with true references, as a sealed set that the trainer reads."""
    index = pd.read_parquet(store.paths.shards / "index.parquet")
    kept = set(index.loc[index["status"] == "kept", "unit_id"])
    units = {unit.unit_id: unit for unit in store.units() if unit.unit_id in kept}
    config = SealConfig(format="jpg", quality=95)
    images = store.load_images(list(units))

    def build(unit_id: str) -> Members:
        unit = units[unit_id]
        return build_sample(unit, {"stylized": images[unit_id]["stylized"], **references(unit)}, {}, "{}", config)

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shards = []
    for split in SPLITS:
        ids = [unit_id for unit_id, unit in units.items() if unit.side == split]
        shards += write_shards(folder, split, ids, build, config)[0]
    listed = {"members": list(member_suffixes(config)), "shards": [shard.as_dict() for shard in shards]}
    write_json(folder / "dataset.json", {"format": FORMAT, **listed})


def references(unit: Unit) -> dict[str, bytes]:
    """PNG bytes of the true content and style reference."""
    content, style = draw(unit.inputs["stylized"], AS_DRAWN), draw(unit.inputs["subject"], style_of(unit))
    if unit.layout == "shifted":
        pixels = torch.from_numpy(to_unit_range([decode(content)]))
        similarity = draw_similarity(torch.Generator().manual_seed(seeds.seed("truth", unit.unit_id)))
        (moved,) = from_unit_range(transform(pixels, [similarity], torch.ones(1, 3)).numpy())
        content = encode(moved)
    return {"content": content, "style": style}


def style_of(unit: Unit) -> str:
    """The preset that the target is painted in."""
    return Drawing(*unit.inputs["stylized"].locator.split("/")).style


def draw(item: SourceItem, style: str) -> bytes:
    """The drawing of a source item, in any style."""
    rgba = render_svg(Drawing(*item.locator.split("/")), size=SIZE_PX)
    return encode(from_array(plain(rgba) if style == AS_DRAWN else apply_style(PRESETS[style], rgba)))


if __name__ == "__main__":
    main()
