"""Do stock loaders read the shards? `python benchmarks/readers.py [RUN]`: same count, complete samples, by each of
webdataset, Hugging Face datasets (webdataset builder) and ray.data.read_webdataset. Exit code 1 if not."""

from __future__ import annotations

import json
import logging
import sys
import tempfile
import warnings
from collections.abc import Collection
from pathlib import Path

WANTED = {"content.jpg", "style.jpg", "stylized.jpg", "txt", "json"}


def main() -> int:
    warnings.simplefilter("ignore")
    run = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/quickstart")
    shards = sorted(str(path) for path in (run / "shards").glob("*.tar"))
    promised = json.loads((run / "shards" / "dataset.json").read_text())["totals"]["kept"]
    good = True
    for name, read in (("webdataset", by_webdataset), ("datasets", by_datasets), ("ray.data", by_ray)):
        samples = read(shards)
        complete = sum(set(fields) >= WANTED for fields in samples)
        print(f"{name:10s} {len(samples)} samples, {complete} complete; dataset.json promises {promised}", flush=True)
        good = good and len(samples) == complete == promised
    return 0 if good else 1


def by_webdataset(shards: list[str]) -> list[Collection[str]]:
    """Decoded samples' fields."""
    import webdataset

    return [[key for key in sample if not key.startswith("__")]
            for sample in webdataset.WebDataset(shards, shardshuffle=False).decode("pil")]


def by_datasets(shards: list[str]) -> list[Collection[str]]:
    """Fields that are not None."""
    import datasets

    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory() as cache:
        rows = datasets.load_dataset("webdataset", data_files={"train": shards}, cache_dir=cache)["train"]
        return [[key for key, value in row.items() if value is not None] for row in rows]


def by_ray(shards: list[str]) -> list[Collection[str]]:
    """Fields of Ray's rows."""
    import ray

    ray.init(num_cpus=1, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    rows = ray.data.read_webdataset(shards).take_all()
    ray.shutdown()
    return [[key for key, value in row.items() if value is not None and not key.startswith("__")] for row in rows]


if __name__ == "__main__":
    sys.exit(main())
