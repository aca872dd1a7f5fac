"""What all exports share: a folder that appears whole, the samples that go into it, and a card with their licences."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from curate.dataset import SealedFolder
from curate.errors import StoreError
from curate.files import write_advice, write_atomic
from curate.interfaces import ROLES, Role
from curate.seal.card import Origin, front_matter, licence_table, rule_list
from curate.seal.shards import shard_order


class Sample(NamedTuple):
    """A kept triplet as it lies in its shard."""

    unit_id: str
    images: Mapping[Role, bytes]
    """Encoded as in the shard."""
    suffix: str
    """Of the images: jpg, png or webp."""
    described: Mapping[str, Any]
    """The sample's ``.json``."""


class Export:
    """The kept units of a sealed folder, all or those in a list, and where they came from."""

    def __init__(self, sealed: SealedFolder, ids: frozenset[str] | None) -> None:
        self.sealed = sealed
        table = sealed.index(["unit_id", "split", "shard"]).to_pylist()
        kept = [row for row in table if row["shard"] and (ids is None or row["unit_id"] in ids)]
        if not kept:
            raise StoreError(f"{sealed.folder}: none of the wanted units is kept, so there is nothing to export")
        self.splits: dict[str, list[str]] = {}
        for row in kept:
            self.splits.setdefault(row["split"], []).append(row["unit_id"])
        self.splits = {split: shard_order(self.splits[split]) for split in sorted(self.splits)}
        self.origins: set[Origin] = set()
        self.suffix = str(sealed.dataset["settings"]["format"])

    @property
    def columns(self) -> dict[str, str]:
        """Score columns and their types."""
        return dict(self.sealed.dataset["columns"])

    def samples(self, split: str) -> Iterator[Sample]:
        """In the order of the shards."""
        for unit_id in self.splits[split]:
            yield self.sample(unit_id)

    def sample(self, unit_id: str) -> Sample:
        """One of them. StoreError when it is damaged."""
        found = self.sealed.members(unit_id)
        try:
            described = json.loads(found["json"])
            self.origins |= {Origin(one["licence"], one["attribution"], one["sha256"]) for one in described["inputs"]}
            return Sample(unit_id, {role: found[f"{role}.{self.suffix}"] for role in ROLES}, self.suffix, described)
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{self.sealed.folder}: sample {unit_id} is damaged ({error}); `curate verify` says more"
                             ) from error

    def write_card(self, folder: Path, *, files: Mapping[str, str], says: Sequence[str], tags: Sequence[str]) -> None:
        """README.md. ``says``: paragraphs about this form of the dataset."""
        sizes = ", ".join(f"{split} {len(ids)}" for split, ids in self.splits.items())
        parts = [front_matter(files, *tags), "# Style triplets",
                 "Each sample is a triplet: the target (`stylized`) shows the subject of `content` in the style of "
                 f"`style`. Triplets by split: {sizes}.", *says,
                 "## Licences of the source images", licence_table(self.origins),
                 "Generated images derive from these sources.", "## Rules by which they were kept",
                 rule_list(self.sealed.dataset)]
        write_atomic(folder / "README.md", ("\n\n".join(parts) + "\n").encode())


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder to write into that gets its name when all went well. StoreError when ``out`` holds something."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise StoreError(f"{out}: is not empty; export into a new folder")
    staged = out.with_name(f"{out.name}.tmp")
    try:
        shutil.rmtree(staged, ignore_errors=True)
        staged.mkdir(parents=True)
        yield staged
        if out.exists():
            out.rmdir()
        staged.rename(out)
    except OSError as error:
        raise StoreError(f"{out}: cannot be written: {write_advice(error)}") from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)
