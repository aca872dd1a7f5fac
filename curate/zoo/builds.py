"""The explicit table of the zoo: which function builds a model, and what measures it. Behind `curate zoo`."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from curate.errors import ConfigError
from curate.models import ZOO
from curate.zoo.iconify import default_cache

BUILDS: dict[str, str] = {
    "evaluator": "curate.zoo.evaluator:build",
    "csd": "curate.zoo.csd:build",
    "clip": "curate.zoo.clip:build",
    "vlm": "curate.zoo.vlm:build",
    "restyle": "curate.zoo.restyle:build",
    "uso-base": "curate.zoo.uso_base:build",
}
"""Model -> "module:function" of ``build(out: Path, work: Path)``, which resumes from ``work``. In order of need."""
MEASURED: tuple[str, ...] = ("csd", "clip", "vlm", "restyle")
"""What `curate zoo eval` measures; the evaluator is the yardstick for restyle, trained apart from CSD."""


def list_models() -> None:
    """Print each model, its size, and the first line of its card."""
    for name in BUILDS:
        folder = ZOO / name
        size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) if folder.is_dir() else 0
        card = folder / "README.md"
        title = card.read_text(encoding="utf-8").splitlines()[0].lstrip("# ") if card.is_file() else "not built"
        print(f"{name:10s} {size / 2**20:6.1f} MiB  {title}")


def build_model(name: str, out: Path | None, work: Path | None) -> None:
    """Train ``name`` into ``out`` (default: the package's folder), with checkpoints and log in ``work``."""
    from curate.zoo.card import note_fingerprint

    build: Callable[[Path, Path], Any] = _find(name)
    work = work or default_cache() / "work" / name
    print(f"zoo {name}: checkpoints and log in {work}", flush=True)
    print(build(out or ZOO / name, work))
    note_fingerprint(out or ZOO / name)


def evaluate_models(names: Sequence[str], *, write: bool) -> int:
    """Print the figures of the named models (all, if none is named); 1 if one misses a bar."""
    from curate.zoo.evaluation import evaluate

    for name in names:
        if name not in MEASURED:
            raise ConfigError(f"zoo eval: nothing measures {name!r} (there are: {', '.join(MEASURED)})")
    return 0 if evaluate(tuple(names) or MEASURED, write=write) else 1


def _find(name: str) -> Any:
    import importlib

    if name not in BUILDS:
        near = difflib.get_close_matches(name, BUILDS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"no model {name!r} in the zoo{hint} (there are: {', '.join(BUILDS)})")
    module, _, function = BUILDS[name].partition(":")
    return getattr(importlib.import_module(module), function)
