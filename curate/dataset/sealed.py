"""SealedFolder: what lies in a sealed dataset, by unit id; of a run directory, or of a copy of its shards alone."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from curate.errors import StoreError
from curate.seal.publish import DATASET_JSON, INDEX
from curate.store import RunPaths
from curate.store.tables import read_table
from curate.store.tars import Extent, read_extents


class SealedFolder:
    """Opened by the path of a run or of a sealed folder. StoreError when nothing is sealed there."""

    def __init__(self, path: Path) -> None:
        shards = RunPaths(path).shards
        self.folder = path if (path / DATASET_JSON).is_file() else shards
        try:
            self.dataset: dict[str, Any] = json.loads((self.folder / DATASET_JSON).read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            what = "nothing is sealed yet; run `curate seal`" if RunPaths(path).run_json.exists() else (
                f"neither a run directory (no run.json) nor a sealed folder (no {DATASET_JSON})")
            raise StoreError(f"{path}: {what}") from error
        except (OSError, ValueError) as error:
            raise StoreError(f"{self.folder / DATASET_JSON}: cannot be read ({error}); seal again") from error
        self._extents: dict[str, dict[str, dict[str, Extent]]] = {}

    def index(self, columns: Sequence[str] | None = None) -> pa.Table:
        """The index, or some of its columns: a row a planned unit, in plan order."""
        return read_table(self.folder / INDEX, columns)

    @cached_property
    def shard_of(self) -> dict[str, str]:
        """Kept unit -> its shard, in plan order."""
        table = self.index(["unit_id", "shard"])
        pairs = zip(table.column("unit_id").to_pylist(), table.column("shard").to_pylist(), strict=True)
        return {unit_id: shard for unit_id, shard in pairs if shard}

    def members(self, unit_id: str) -> dict[str, bytes]:
        """Suffix -> bytes of a kept unit. StoreError when it is not kept, or its shard is damaged."""
        if unit_id not in self.shard_of:
            raise StoreError(f"{self.folder}: unit {unit_id} is not among the kept ones")
        shard = self.shard_of[unit_id]
        extents = self._shard(shard).get(unit_id)
        if extents is None:
            raise StoreError(f"{self.folder / shard}: unit {unit_id} should be in it; `curate verify` says more")
        return dict(zip(extents, read_extents(self.folder / shard, extents.values()), strict=True))

    def _shard(self, name: str) -> dict[str, dict[str, Extent]]:
        """Unit -> suffix -> where it lies; a shard's headers are read once."""
        if name not in self._extents:
            found: dict[str, dict[str, Extent]] = {}
            try:
                with (self.folder / name).open("rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
                    for member in tar:
                        key, _, suffix = member.name.partition(".")
                        found.setdefault(key, {})[suffix] = Extent(member.offset_data, member.size)
            except (tarfile.TarError, OSError) as error:
                raise StoreError(f"{self.folder / name}: cannot be read ({error})") from error
            self._extents[name] = found
        return self._extents[name]
