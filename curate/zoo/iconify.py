"""Emoji sets as SVG, read from the `@iconify-json/*` npm packages.

One package holds one set: `icons.json` has the SVG bodies and the aliases, `info.json` the licence. The
packages are fetched by npm itself (`--ignore-scripts`), at pinned versions, into the cache folder, once; the
artwork never enters the repository.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from curate.errors import SourceError
from curate.sources.heldout import matching_key

# Pinned: another version may draw a subject anew, and the zoo's figures would no longer be comparable.
PACKAGE_VERSIONS: Final[Mapping[str, str]] = {
    "noto": "1.2.9",
    "noto-v1": "1.2.5",
    "twemoji": "1.2.5",
    "openmoji": "1.2.29",
    "fluent-emoji": "1.2.7",
    "fluent-emoji-flat": "1.2.6",
    "fluent-emoji-high-contrast": "1.2.6",
    "fxemoji": "1.2.2",
    "emojione": "1.2.3",
    "emojione-v1": "1.2.3",
    "emojione-monotone": "1.2.1",
}

_NOT_A_SUBJECT = re.compile(r"skin-?tone|^keycap|^regional-?indicator|^flag-?for|^flag-|^tag-|^variation-selector")
_FLAG = re.compile(r"flag$")
_FLAGS_THAT_ARE_THINGS = {"blackflag", "whiteflag", "chequeredflag", "triangularflag", "rainbowflag", "pirateflag"}


@dataclass(frozen=True)
class Icon:
    """One drawing: its name in its set, the name of the drawing that it shares (itself, or its alias's
    parent), and its SVG."""

    name: str
    parent: str
    svg: str


@dataclass(frozen=True)
class IconSet:
    """One emoji set. `icons` is keyed by the matching key (see `curate.sources.heldout`)."""

    name: str
    licence: str
    author: str
    icons: Mapping[str, Icon]


def default_cache() -> Path:
    """The folder for fetched and rendered data: `$TRIPLET_CACHE`, else `~/.cache/triplet-curate`."""
    return Path(os.environ.get("TRIPLET_CACHE") or Path.home() / ".cache" / "triplet-curate")


def is_subject(name: str) -> bool:
    """False for country flags, keycaps, letters and skin tone variants: they are no subjects with a style of
    their own."""
    if _NOT_A_SUBJECT.search(name):
        return False
    key = matching_key(name)
    return not _FLAG.search(key) or key in _FLAGS_THAT_ARE_THINGS


def fetch_packages(cache: Path) -> Path:
    """Install the pinned packages below `cache/npm` unless they are there, and return the folder that holds them.

    Raises SourceError where npm is missing or fails; its own message is passed on.
    """
    prefix = cache / "npm"
    folder = prefix / "node_modules" / "@iconify-json"
    missing = [name for name, version in PACKAGE_VERSIONS.items() if _installed_version(folder / name) != version]
    if not missing:
        return folder
    npm = shutil.which("npm")
    if npm is None:
        raise SourceError(
            f"npm is needed once to fetch the emoji sets {', '.join(missing)} into {prefix}, and is not on PATH"
        )
    prefix.mkdir(parents=True, exist_ok=True)
    # All of them in one call: npm removes what an earlier `--no-save` call left and this one does not name.
    wanted = [f"@iconify-json/{name}@{version}" for name, version in PACKAGE_VERSIONS.items()]
    command = [
        npm,
        "install",
        "--ignore-scripts",
        "--no-save",
        "--no-audit",
        "--no-fund",
        "--prefix",
        str(prefix),
        *wanted,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SourceError(
            f"npm install of the emoji sets failed (exit {done.returncode}): {done.stderr.strip()[-1000:]}"
        )
    return folder


def read_set(folder: Path) -> IconSet:
    """Read one package folder. Names that are no subjects (`is_subject`) are left out; a set's own name
    beats its aliases."""
    data = json.loads((folder / "icons.json").read_text(encoding="utf-8"))
    info = json.loads((folder / "info.json").read_text(encoding="utf-8"))
    icons: dict[str, Icon] = {}
    for name in [*data["icons"], *data.get("aliases", {})]:
        key = matching_key(name)
        if key in icons or not is_subject(name):
            continue
        icons[key] = Icon(name=name, parent=_root(data, name), svg=_svg(data, name))
    return IconSet(name=folder.name, licence=info["license"]["spdx"], author=info["author"]["name"], icons=icons)


def _installed_version(folder: Path) -> str | None:
    manifest = folder / "package.json"
    if not manifest.is_file():
        return None
    return str(json.loads(manifest.read_text(encoding="utf-8"))["version"])


def _root(data: Mapping[str, Any], name: str) -> str:
    """The drawing that `name` stands for, with a mark where an alias mirrors or turns it (then it is a
    drawing of its own)."""
    mark = ""
    while name not in data["icons"]:
        alias = data["aliases"][name]
        mark += "".join(f"|{key}" for key in ("hFlip", "vFlip", "rotate") if alias.get(key))
        name = alias["parent"]
    return name + mark


def _svg(data: Mapping[str, Any], name: str) -> str:
    """The icon as an SVG document; an alias may mirror or turn its parent (iconify JSON: hFlip, vFlip,
    rotate in quarter turns)."""
    transforms: list[str] = []
    chain: list[Mapping[str, Any]] = []
    while name not in data["icons"]:
        chain.append(data["aliases"][name])
        name = data["aliases"][name]["parent"]
    icon = data["icons"][name]
    box = [float(icon.get(key, data.get(key, default))) for key, default in _BOX]
    left, top, width, height = box
    middle = (left + width / 2, top + height / 2)
    for alias in chain:
        if alias.get("hFlip"):
            transforms.append(f"translate({2 * middle[0]} 0) scale(-1 1)")
        if alias.get("vFlip"):
            transforms.append(f"translate(0 {2 * middle[1]}) scale(1 -1)")
        if alias.get("rotate"):
            transforms.append(f"rotate({90 * alias['rotate']} {middle[0]} {middle[1]})")
    body = icon["body"]
    if transforms:
        body = f'<g transform="{" ".join(transforms)}">{body}</g>'
    view = f"{left} {top} {width} {height}"
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{view}" width="{width}" height="{height}">{body}</svg>'
    )


_BOX: Final = (("left", 0), ("top", 0), ("width", 16), ("height", 16))
