"""What ``curate doctor`` looks at: each check says what works, or what does not and how to mend it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from packaging.requirements import InvalidRequirement, Requirement

from curate.models import ZOO, model_hash
from curate.zoo.builds import BUILDS
from curate.zoo.card import FINGERPRINT

State = Literal["ok", "warning", "broken"]
PACKAGE = "triplet-curate"
LOW_DISK_GB, LOW_SHM_MB = 5, 512
HUB_S, RAY_S = 5, 90
RAY_TRIAL = """
from curate.engine.config import EngineConfig
from curate.engine.ray_session import RaySession
session = RaySession(EngineConfig(kind="ray", cpus=1, object_store_mb=80), gpus=0)
print(session.totals()[0])
session.close()
"""


class Finding(NamedTuple):
    """One thing that was looked at."""

    name: str
    state: State
    says: str
    fix: str = ""
    """What to do; empty when nothing has to be done."""


def python() -> Iterator[Finding]:
    """The interpreter."""
    good = sys.version_info >= (3, 11)
    yield Finding("python", "ok" if good else "broken", f"{platform.python_version()} on {platform.machine()}",
                  "" if good else "Python 3.11 or newer is needed")


def packages() -> Iterator[Finding]:
    """Everything that the package asks for, in the versions it asks for."""
    try:
        wanted = importlib.metadata.requires(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        yield Finding("packages", "warning", f"{PACKAGE} itself is not installed, so its needs are not known",
                      "make setup, or pip install -e .")
        return
    yield from check_requirements(wanted)


def check_requirements(wanted: list[str]) -> Iterator[Finding]:
    """``wanted`` as package metadata has it; extras are passed over."""
    wrong = 0
    for text in wanted:
        try:
            need = Requirement(text)
        except InvalidRequirement:
            continue
        if need.marker and not need.marker.evaluate({"extra": ""}):
            continue
        try:
            there = importlib.metadata.version(need.name)
        except importlib.metadata.PackageNotFoundError:
            there = ""
        if not there or not need.specifier.contains(there, prereleases=True):
            wrong += 1
            wants = f"{need.specifier or 'any version'} is needed"
            yield Finding(need.name, "broken", f"{there or 'not installed'}; {wants}",
                          f"pip install -c constraints.txt '{need.name}{need.specifier}'")
    if not wrong:
        yield Finding("packages", "ok", f"all {len(wanted)} requirements are met")


def gpu() -> Iterator[Finding]:
    """What torch sees."""
    import torch

    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            props = torch.cuda.get_device_properties(i)
            size = f"{props.total_memory / 2**30:.0f} GiB"
            yield Finding(f"gpu {i}", "ok", f"{props.name}, {size}, torch {torch.__version__}")
        return
    card = shutil.which("nvidia-smi")
    yield Finding("gpu", "warning" if card else "ok",
                  f"torch {torch.__version__} sees none: the compact models, scoring and sealing need none; experts of "
                  "FLUX's size do",
                  "an NVIDIA driver is here: install a torch built for its CUDA version" if card else "")


def ray() -> Iterator[Finding]:
    """Starts one of its own, as ``engine: {kind: ray}`` would, and ends it."""
    shm = Path("/dev/shm")
    free_mb = shutil.disk_usage(shm).free / 2**20 if shm.is_dir() else 0.0
    if free_mb < LOW_SHM_MB:
        yield Finding("shared memory", "warning", f"{free_mb:.0f} MB free in /dev/shm: Ray falls back to slow disk",
                      "in Docker: --shm-size=1g, or a smaller engine.object_store_mb")
    try:
        done = subprocess.run([sys.executable, "-c", RAY_TRIAL], capture_output=True, text=True, timeout=RAY_S,
                              env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
        says = (done.stderr.strip().splitlines() or ["no message"])[-1] if done.returncode else ""
    except subprocess.TimeoutExpired:
        says = f"did not start within {RAY_S} s"
    if says:
        yield Finding("ray", "broken", says,
                      "engine: {kind: local} needs no Ray; /tmp/ray/session_latest/logs say more")
    else:
        yield Finding("ray", "ok", f"{importlib.metadata.version('ray')} starts and stops")


def disk(folder: Path) -> Iterator[Finding]:
    """Room and rights where runs would go."""
    free_gb = shutil.disk_usage(folder).free / 1e9
    low = free_gb < LOW_DISK_GB
    yield Finding("disk", "warning" if low else "ok", f"{free_gb:.0f} GB free in {folder}",
                  f"less than {LOW_DISK_GB} GB: a 512 px triplet takes about 1 MB as candidate, 0.3 MB in a shard"
                  if low else "")
    if not os.access(folder, os.W_OK):
        yield Finding("disk", "broken", f"{folder} cannot be written", "run in another folder, or set `output:`")


def hub() -> Iterator[Finding]:
    """Whether models can be downloaded."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        yield Finding("hub", "ok", f"offline by HF_HUB_OFFLINE; cached models in {constants.HF_HUB_CACHE} work")
        return
    try:
        urllib.request.urlopen(urllib.request.Request(constants.ENDPOINT, method="HEAD"), timeout=HUB_S).close()
    except OSError as error:
        yield Finding("hub", "warning", f"{constants.ENDPOINT} is not reached ({error}): zoo models and local folders "
                      f"work, hub ids only out of {constants.HF_HUB_CACHE}",
                      "fetch models elsewhere and give their folder as `model:`, or set HF_ENDPOINT to a mirror")
        return
    yield Finding("hub", "ok", f"{constants.ENDPOINT} answers; gated models (FLUX) need `hf auth login` besides")


def zoo(folder: Path = ZOO) -> Iterator[Finding]:
    """Each compact model against the fingerprint in its card: a cut or half-fetched file loads, but wrongly."""
    for name in BUILDS:
        card = folder / name / "README.md"
        if not (folder / name).is_dir():
            yield Finding(f"zoo:{name}", "warning", "is not there", f"curate zoo build {name}")
            continue
        text = card.read_text(encoding="utf-8") if card.is_file() else ""
        noted = re.search(rf"^## {FINGERPRINT}\n\n`([0-9a-f]+)`", text, flags=re.MULTILINE)
        now = model_hash(str(folder / name))
        if noted is None:
            yield Finding(f"zoo:{name}", "warning", f"{now}; its card has no fingerprint to compare with",
                          f"curate zoo build {name} notes it")
        elif noted[1] != now:
            yield Finding(f"zoo:{name}", "broken", f"{now}, but its card says {noted[1]}: damaged or replaced files",
                          f"git checkout -- {folder / name}, or install the package again")
        else:
            yield Finding(f"zoo:{name}", "ok", now)
