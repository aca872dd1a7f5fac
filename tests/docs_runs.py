"""Running a page of the documentation: its blocks in order, in a folder like the repository's root, at small sizes."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import yaml

from curate.config import apply_overrides, load_yaml
from tests.bench_parts import fill_cache
from tests.docs_blocks import ROOT, Block

SMALL_RUN = ("engine.kind=local", "val_fraction=0.4", "sources.input.count=16", "sources.subjects.count=150")
SMALL_TRAINING = ("steps=4", "batch=4", "save_every=4", "samples.count=2", "samples.steps=2", "optimiser.warmup=1")
SMALL_BENCH = ("bench.subjects=3", "bench.parametric=1", "bench.sets=1", "resamples=100")
SIZES = {
    "configs/quickstart.yaml": SMALL_RUN,
    "configs/train/compact_stage1.yaml": SMALL_TRAINING,
    "configs/train/compact_stage2.yaml": (*SMALL_TRAINING, "reward.start_step=2", "reward.batch=2",
                                          "reward.num_steps=2", "validation.count=4", "validation.pictures=2"),
    "configs/bench/emoji.yaml": SMALL_BENCH,
    "configs/bench/uso_compact.yaml": SMALL_BENCH,
}
"""File -> values that make it small. The commands stay as they are shown."""
SHORTER = {"count=60, size=256": "count=36, size=64"}
"""The same for what a page's own code says."""
COPIED = ("configs", "filters", "pipelines", "Makefile", "constraints.txt")
SECONDS = 600


class PageRun:
    """The folder of one page."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in COPIED:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
            copy(ROOT / name, folder / name)
        weights = ROOT / "curate" / "zoo" / "weights"
        shutil.copytree(ROOT / "curate", folder / "curate", ignore=shutil.ignore_patterns("weights", "__pycache__"))
        (folder / "curate" / "zoo" / "weights").symlink_to(weights)
        for name, overrides in SIZES.items():
            self.write(name, yaml.safe_dump(apply_overrides(load_yaml(folder / name)[0], overrides), sort_keys=False))
        fill_cache(folder / "cache")
        self._make_program()

    def _make_program(self) -> None:
        bin_ = self.folder / ".venv" / "bin"
        bin_.mkdir(parents=True)
        for name, code in (("curate", "-m curate.cli"), ("python", "")):
            program = bin_ / name
            program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {code} "$@"\n')
            program.chmod(0o755)
        (bin_ / "activate").write_text("")

    @property
    def environment(self) -> dict[str, str]:
        """One thread, this folder's code, toy emoji for emoji-bench instead of npm's, and make without its set-up."""
        return {**os.environ, "PYTHONPATH": str(self.folder), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore",
                "PATH": f"{self.folder / '.venv' / 'bin'}:{os.environ['PATH']}", "COLUMNS": "120",
                "TRIPLET_CACHE": str(self.folder / "cache"),
                "MAKEFLAGS": " -- STAMP=constraints.txt"}

    def write(self, name: str, text: str) -> None:
        """A file of the page."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def do(self, block: Block) -> None:
        """What the block's language and treatment ask for. AssertionError with its output where it goes wrong."""
        if block.language == "diff":
            self._change(block)
        elif block.title:
            self.write(block.title, block.text)
        elif block.language == "python" and not block.treatment.startswith("parse:"):
            code = block.text
            for shown, smaller in SHORTER.items():
                code = code.replace(shown, smaller)
            self._run([sys.executable, "-c", code], block)
        elif block.language == "shell" and block.treatment == "label":
            self._label(block)
        elif block.language == "shell" and not block.treatment.startswith("parse:"):
            self._run(["bash", "-euo", "pipefail", "-c", block.text], block)

    def _run(self, words: list[str], block: Block) -> None:
        done = subprocess.run(words, cwd=self.folder, env=self.environment, timeout=SECONDS, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        allowed = (0, 1) if block.treatment == "exit 0 or 1" else (0,)
        assert done.returncode in allowed, f"{block.where}: exit code {done.returncode}\n{done.stdout[-3000:]}"
        assert "Traceback" not in done.stdout, f"{block.where}\n{done.stdout[-3000:]}"

    def _change(self, block: Block) -> None:
        lines = block.text.splitlines()
        old, new = ("".join(f"{line[1:]}\n" for line in lines if line[:1] in (" ", sign) or not line)
                    for sign in "-+")
        path = self.folder / block.title
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{block.where}: {text.count(old)} places in {block.title} look like\n{old}"
        path.write_text(text.replace(old, new), encoding="utf-8")

    def _label(self, block: Block) -> None:
        """Start the page, read it, stop it as a person does; then label as one might who goes by the style number."""
        with subprocess.Popen(["bash", "-c", f"exec {block.text}"], cwd=self.folder, env=self.environment,
                              stderr=subprocess.PIPE, text=True) as server:
            assert server.stderr is not None
            url = re.search(r"http://\S+", server.stderr.readline())
            assert url, f"{block.where}: no address"
            with urllib.request.urlopen(url[0], timeout=30) as page:
                assert b"<html" in page.read()
            server.send_signal(signal.SIGINT)
            assert server.wait(30) == 0, block.where
        self._run([sys.executable, "-c", STAND_IN, block.text.split()[2]], block)


STAND_IN = """
import sys
import curate
from pathlib import Path
from curate.steer.labels import Label, write_labels
run = Path(sys.argv[1])
frame = curate.open(run).frame
good = frame["csd.style.content_stylized"] < frame["csd.style.content_stylized"].quantile(0.8)
write_labels(run / "labels.parquet", [Label(str(u), bool(g), "" if g else "residue") for u, g in good.items()])
"""
