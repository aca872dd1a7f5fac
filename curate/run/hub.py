"""What the hub tells of a model before it is fetched: its files, their sizes, headers of safetensors files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from curate.models import HUB_ID

TIMEOUT_S = 10.0


class UnknownOnHubError(Exception):
    """Why nothing can be told."""


@dataclass(frozen=True, slots=True)
class HubFiles:
    """The files of a repository at one commit."""

    repo: str
    commit: str | None
    inside: str
    """File that the reference means; "" = the repository."""
    sizes: Mapping[str, int]
    """Path in the repository -> bytes."""
    cached: Mapping[str, Path]
    """Those that lie in huggingface_hub's cache -> where."""


@lru_cache(maxsize=64)
def files_on_hub(name: str, revision: str | None = None, *, tag: bool = False) -> HubFiles:
    """Of a hub id, of ORG/REPO/FILE or ``hf-hub:ORG/REPO``; with ``tag`` the name may be one of open_clip's, too.
    Without a network, what lies in the cache. Raises UnknownOnHubError where neither tells.
    """
    repo, inside = _repository(name, tag=tag)
    from huggingface_hub import HfApi, try_to_load_from_cache

    try:
        info = HfApi().model_info(repo, revision=revision, files_metadata=True, timeout=TIMEOUT_S)
    except Exception as error:  # offline mode, no network, no such repository, no access
        return _cached(repo, revision, inside, error)
    sizes = {file.rfilename: int(file.size or 0) for file in info.siblings or ()}
    cached = {path: Path(place) for path in sizes
              if isinstance(place := try_to_load_from_cache(repo, path, revision=info.sha), str)}
    return HubFiles(repo, info.sha, inside, sizes, cached)


def num_parameters_on_hub(files: HubFiles, path: str) -> int:
    """Numbers in a safetensors file of the repository, from its header alone. Raises UnknownOnHubError."""
    from huggingface_hub import HfApi

    try:
        found = HfApi().parse_safetensors_file_metadata(files.repo, path, revision=files.commit, timeout=TIMEOUT_S)
    except Exception as error:
        raise UnknownOnHubError(_reason(error)) from error
    return sum(found.parameter_count.values())


def _repository(name: str, *, tag: bool) -> tuple[str, str]:
    """(ORG/REPO, path in it)."""
    if name.startswith("hf-hub:"):
        return name.removeprefix("hf-hub:"), ""
    parts = name.split("/")
    repo, inside = "/".join(parts[:2]), "/".join(parts[2:])
    if not HUB_ID.fullmatch(repo) or Path(name).is_absolute():
        raise UnknownOnHubError("no such path here, and no hub id")
    found = _of_open_clip(*parts) if tag and not inside else None
    return found or (repo, inside)


def _of_open_clip(architecture: str, tag: str) -> tuple[str, str] | None:
    """Where open_clip has the weights of one of its tags; None if it is none."""
    import open_clip

    known: Mapping[str, Any] = open_clip.get_pretrained_cfg(architecture, tag) or {}
    if not known:
        return None
    if not known.get("hf_hub"):
        raise UnknownOnHubError("open_clip takes it from another place than the hub")
    return str(known["hf_hub"]).rstrip("/"), "open_clip_model.safetensors"


def _cached(repo: str, revision: str | None, inside: str, error: Exception) -> HubFiles:
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(repo, revision=revision, local_files_only=True))
    except Exception:  # nothing of it was ever fetched
        raise UnknownOnHubError(_reason(error)) from error
    cached = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return HubFiles(repo, revision, inside, {name: path.stat().st_size for name, path in cached.items()}, cached)


def _reason(error: Exception) -> str:
    from huggingface_hub.errors import OfflineModeIsEnabled, RepositoryNotFoundError, RevisionNotFoundError

    if isinstance(error, OfflineModeIsEnabled):
        return "offline mode, and it is not in the cache"
    if isinstance(error, RepositoryNotFoundError | RevisionNotFoundError):
        return "the hub has no such model, or HF_TOKEN may not see it"
    return f"the hub does not tell: {type(error).__name__}"
