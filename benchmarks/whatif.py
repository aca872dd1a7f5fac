"""How long does `curate whatif` take on a million units? `python benchmarks/whatif.py [--units N]`

A synthetic index (15 score columns, 64-bit hashes, 4 units a source, 200,000 subjects, one unit in 50 with a twin of
another source) is written to a temporary folder; then the command runs as a user would run it, start-up included.
Bar: four rule sets over 1,000,000 units in at most 3 s. Exit code 1 if missed.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from curate.files import write_json
from curate.seal import NearDuplicateConfig, RuleConfig
from curate.store.tables import write_table

BAR_S = 3.0
RULES = (RuleConfig(column="csd.style.style_stylized", min=0.3),
         RuleConfig(column="csd.style.content_stylized", max=0.7),
         RuleConfig(column="clip.image.content_stylized", min=0.2),
         RuleConfig(column="clip.image.style_stylized", max=0.8),
         RuleConfig(column="copy_paste.alignment", max=0.6, layout="shifted"),
         RuleConfig(column="vlm.style.content_stylized", max=3.3))
OTHERS = tuple(f"csd.content.{i}" for i in range(9))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--units", type=int, default=1_000_000)
    units = parser.parse_args().units
    with tempfile.TemporaryDirectory() as folder:
        write_index(Path(folder), units)
        command = [sys.executable, "-m", "curate.cli", "whatif", folder, "--set", "rules.0.min=[0.2,0.25,0.35]"]
        best = min(timed(command) for _ in range(3))
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    met = best <= BAR_S
    print(f"{units:,} units, four rule sets: {best:.2f} s, peak memory {peak:.1f} GiB "
          f"(bar {BAR_S:g} s at 1,000,000): {'met' if met else 'MISSED'}")
    return 0 if met else 1


def timed(command: list[str]) -> float:
    begun = time.perf_counter()
    subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    return time.perf_counter() - begun


def write_index(folder: Path, n: int) -> None:
    """index.parquet and dataset.json as ``seal`` writes them, of ``n`` units that were all made and scored."""
    rng = np.random.default_rng(0)
    source = np.arange(n) // 4
    hashes = rng.integers(0, 2**64, n // 4 + 1, dtype=np.uint64)
    twins = rng.random(len(hashes)) < 0.02
    hashes[twins] = rng.choice(hashes, int(twins.sum())) ^ np.uint64(0b101)

    def words(what: str, numbers: np.ndarray) -> pa.Array:
        return pa.array([f"{what} {number}" for number in numbers.tolist()])

    def keys(numbers: np.ndarray) -> pa.Array:
        return pa.array((numbers + 1) * 0x9E3779B97F4A7)

    subject, val = source % 200_000, source % 10 == 0
    other = (subject + 7 * 10) % 200_000  # of the same side
    text = {"unit_id": pa.array([f"{i:032x}" for i in range(n)]), "subject": words("subject", subject),
            "style_subject": words("subject", other), "style": words("style", rng.integers(0, 1000, n)),
            "caption": words("a drawing of subject", subject), "source_key": keys(source),
            "subject_key": keys(subject), "style_subject_key": keys(other),
            "layout": pa.array(np.where(np.arange(n) % 2, "shifted", "preserved")),
            "split": pa.array(np.where(val, "val", "train")), "status": pa.array(["kept"] * n)}
    text |= {name: pa.array([""] * n) for name in ("stage", "reason", "errors", "unscored_by")}
    scores = {rule.column: rng.random(n, dtype=np.float32) * (4 if "vlm" in rule.column else 1) for rule in RULES}
    scores |= {name: rng.random(n, dtype=np.float32) for name in OTHERS}
    bits = hashes[source].view(np.int64)
    write_table(folder / "index.parquet", pa.table({**text, "selected": pa.array(np.ones(n, dtype=bool)), **scores,
                                                    "phash.bits": bits}))
    owners = {name: name.partition(".")[0] for name in [*scores, "phash.bits"]}
    write_json(folder / "dataset.json", {
        "rules": [rule.model_dump(mode="json") for rule in RULES], "owners": owners,
        "near_duplicates": NearDuplicateConfig().model_dump(mode="json"),
        "scorers": [{"name": name, "fingerprint": ""} for name in dict.fromkeys(owners.values())]})


if __name__ == "__main__":
    sys.exit(main())
