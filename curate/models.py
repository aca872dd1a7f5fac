"""Where a model reference leads: ``zoo:NAME`` is a folder shipped with the package, all else a path or hub id."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from curate.errors import ModelError

ZOO = Path(__file__).parent / "zoo" / "weights"
HUB_ID = re.compile(r"([\w-][\w.-]*/[\w.-]+)(/.+)?")
"""ORG/REPO, or ORG/REPO/FILE for one file of it."""
COMMIT = re.compile(r"[0-9a-f]{40}")

Config = TypeVar("Config", bound=BaseModel)


def resolve_model(ref: str) -> str:
    """Path of a ``zoo:NAME`` model; any other reference (local path, hub id) unchanged."""
    if not ref.startswith("zoo:"):
        return ref
    folder = ZOO / ref.removeprefix("zoo:")
    if not folder.is_dir():
        names = ", ".join(sorted(p.name for p in ZOO.iterdir() if p.is_dir())) if ZOO.is_dir() else "none"
        raise ModelError(f"{ref}: no such model in the zoo (there are: {names}); build it with `curate zoo build`")
    return str(folder)


@lru_cache(maxsize=64)
def model_hash(ref: str, revision: str | None = None) -> str:
    """16 hex digits that change when the model does.

    A local folder or file is hashed by content (names and bytes, README.md left out); a hub id by id and revision.
    """
    path = Path(resolve_model(ref))
    h = hashlib.blake2b(digest_size=8)
    if not path.exists():
        h.update(f"{ref}@{revision}".encode())
        return h.hexdigest()
    base = path if path.is_dir() else path.parent
    files = sorted(p for p in path.rglob("*") if p.is_file() and p.name != "README.md") if path.is_dir() else [path]
    for file in files:
        h.update(str(file.relative_to(base)).encode())
        with open(file, "rb") as f:  # in pieces: a shard of weights may be larger than the memory
            h.update(hashlib.file_digest(f, lambda: hashlib.blake2b(digest_size=16)).digest())
    return h.hexdigest()


def pinned(config: Config) -> Config:
    """The same config with the ``revision`` of every hub id in it, at any depth, replaced by the commit that it is now.

    So the plan, all workers and later calls mean the same weights. A config whose ``model`` may be something else has a
    ``hub_id``, which is None then. ModelError where the commit cannot be found out.
    """
    changed: dict[str, Any] = {}
    for name in type(config).model_fields:
        value = getattr(config, name)
        if isinstance(value, BaseModel | dict | tuple):
            changed[name] = _pinned_within(value)
    ref = getattr(config, "hub_id", getattr(config, "model", None))
    if isinstance(ref, str) and "revision" in type(config).model_fields:
        changed["revision"] = commit_of(ref, getattr(config, "revision", None))
    return config.model_copy(update=changed)


def _pinned_within(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return pinned(value)
    if isinstance(value, dict):
        return {key: _pinned_within(each) for key, each in value.items()}
    return tuple(_pinned_within(each) for each in value) if isinstance(value, tuple) else value


@lru_cache(maxsize=64)
def commit_of(ref: str, revision: str | None = None) -> str | None:
    """The commit of a hub id's branch or tag (None: its main branch); of a commit or a local model ``revision`` itself.

    Of ORG/REPO/FILE it is the repository's. Asks the hub, or in offline mode (HF_HUB_OFFLINE) and without a network
    huggingface_hub's cache. ModelError if neither knows it. A token is taken from the environment by huggingface_hub
    and appears nowhere.
    """
    if Path(resolve_model(ref)).exists() or (revision and COMMIT.fullmatch(revision)):
        return revision
    hub_id = HUB_ID.fullmatch(ref)
    if hub_id is None:
        raise ModelError(f"{ref}: there is no such folder, and it is no hub id (owner/name)")
    repository = hub_id[1]
    from huggingface_hub import HfApi, constants

    try:
        return str(HfApi().model_info(repository, revision=revision).sha)
    except Exception as error:  # offline mode, no network, no access: whatever it is, the cache may know the commit
        cached = Path(constants.HF_HUB_CACHE, f"models--{repository.replace('/', '--')}", "refs", revision or "main")
        if cached.is_file():
            return cached.read_text().strip()
        raise ModelError(f"{ref}: its commit is neither in the cache nor to be had from the hub "
                         f"({type(error).__name__}); download it, or give its commit as revision") from error
