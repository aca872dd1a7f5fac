"""Candidate segments: the images of a block in one tar, and its ledger rows in a parquet written last.

A unit counts as committed for the engine while both are there, so deleting a damaged tar is enough to have it made
again; the new rows replace the former ones, folded or not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from curate.errors import StoreError
from curate.files import write_atomic
from curate.interfaces import ROLES
from curate.records import CAPTION_FIELDS, Block, CaptionField, Failure, Work
from curate.seeds import digest
from curate.store.layout import RunPaths
from curate.store.segments import SegmentFolder
from curate.store.tables import read_table, write_table
from curate.store.tars import Extent, build_tar, read_extents

SCHEMA = pa.schema([
    ("unit_id", pa.string()),
    ("block_id", pa.string()),
    ("status", pa.string()),
    ("stage", pa.string()),
    ("reason", pa.string()),
    *((f"{role}_{what}", kind) for role in ROLES
      for what, kind in (("sha256", pa.string()), ("offset", pa.int64()), ("bytes", pa.int64()))),
    ("caption", pa.string()),
    ("style_caption", pa.string()),
    ("seconds", pa.string()),
    ("provenance", pa.string()),
])


def captions_in(row: Mapping[Any, Any]) -> dict[CaptionField, str]:
    """What a captioner wrote for the unit of a ledger row; runs of older versions have no such columns."""
    return {name: text for name in CAPTION_FIELDS if isinstance(text := row.get(name), str) and text}


def with_captions(plan: pa.Table, ledger: pd.DataFrame) -> pa.Table:
    """The units of a plan with what a captioner wrote for them, as the ledger has it."""
    written = ledger[list(CAPTION_FIELDS)].dropna(how="all")
    if not len(written):
        return plan
    for name in CAPTION_FIELDS:
        given, found = plan.column(name), written[name].reindex(plan.column("unit_id").to_pandas())
        text = pa.array(found.fillna("").to_numpy(dtype=object), pa.string())
        column = pc.if_else(pc.equal(given, ""), text, given)
        plan = plan.set_column(plan.schema.get_field_index(name), name, column)
    return plan


class Candidates:
    """Images and ledger. A unit is committed when some segment's parquet has its row: ``made``, ``failed``, or
    ``rejected`` where it was turned down before an expert worked for it."""

    def __init__(self, paths: RunPaths) -> None:
        self._paths = paths
        self.segments = SegmentFolder(paths.ledger, SCHEMA, repeated=("provenance", "block_id"))

    def commit(self, work: Work, *, provenance: Mapping[str, Any]) -> None:
        """Write the block's tar, then its rows. See ``RunStore.commit_candidates``."""
        block = work.block
        if block.block_id != digest(*(unit.unit_id for unit in block.units)):
            raise StoreError(f"block {block.block_id}: its id is not the hash of its units; build it with make_block")
        made = [unit.unit_id for unit in block.units if unit.unit_id not in work.failures]
        for unit_id in made:
            lacking = [role for role in ROLES if role not in work.images.get(unit_id, {})]
            if lacking:
                raise StoreError(f"unit {unit_id}: neither failed nor complete: no {lacking[0]} image to commit")
        data, extents = build_tar((f"{unit_id}.{role}.png", work.images[unit_id][role])
                                  for unit_id in made for role in ROLES)
        rows = [self._row(work, unit.unit_id, extents, provenance) for unit in block.units]
        write_atomic(self._paths.candidate_tar(block.block_id), data)
        write_table(self._paths.candidate_rows(block.block_id), pa.Table.from_pylist(rows, schema=SCHEMA))

    @staticmethod
    def _row(work: Work, unit_id: str, extents: Mapping[str, Extent], provenance: Mapping[str, Any]) -> dict[str, Any]:
        failure = work.failures.get(unit_id)
        share = {stage: seconds / len(work.block.units) for stage, seconds in work.seconds.items()}
        row: dict[str, Any] = {
            "unit_id": unit_id,
            "block_id": work.block.block_id,
            "status": "made" if not failure else "rejected" if failure.rejects else "failed",
            "stage": failure.stage if failure else "",
            "reason": failure.reason if failure else "",
            "seconds": json.dumps(share, sort_keys=True),
            "provenance": json.dumps(provenance, sort_keys=True),
        }
        row.update({str(name): text for name, text in work.captions.get(unit_id, {}).items()})
        if not failure:
            for role in ROLES:
                extent = extents[f"{unit_id}.{role}.png"]
                row[f"{role}_sha256"] = hashlib.sha256(work.images[unit_id][role]).hexdigest()
                row[f"{role}_offset"], row[f"{role}_bytes"] = extent
        return row

    def ledger(self) -> pd.DataFrame:
        """One row a committed unit, indexed by unit_id.

        A unit that stands in several segments (it failed once and was made later, or a block was cut after a crash)
        counts once: ``made`` before the others, then the first segment by name.
        """
        frame: pd.DataFrame = self.segments.table().to_pandas()
        frame = frame.sort_values(["status", "segment"], kind="stable",
                                  key=lambda column: column != "made" if column.name == "status" else column)
        return frame.drop_duplicates("unit_id").set_index("unit_id")

    def load(self, block: Block) -> Work:
        """Images (encoded, checked against their sha256) and failures of a committed block."""
        wanted = [unit.unit_id for unit in block.units]
        rows = self._rows_of(block.block_id, wanted)
        work = Work(block=block)
        for unit_id in wanted:
            row = rows.get(unit_id)
            if row is None:
                raise StoreError(f"unit {unit_id} of block {block.block_id} is not committed")
            if row["status"] != "made":
                work.failures[unit_id] = Failure(row["stage"], row["reason"], rejects=row["status"] == "rejected")
            else:
                work.images[unit_id] = self.read_images(unit_id, row)
            if captions := captions_in(row):
                work.captions[unit_id] = captions
        return work

    def _rows_of(self, block_id: str, wanted: Sequence[str]) -> dict[str, dict[Any, Any]]:
        own = self._paths.candidate_rows(block_id)
        if own.exists():  # the common case reads one small file, not the whole ledger
            rows = {row["unit_id"]: row for row in read_table(own).to_pylist()}
            if all(rows.get(unit_id, {}).get("status") == "made" for unit_id in wanted):
                return rows
        return self.rows(wanted)

    def rows(self, unit_ids: Collection[str]) -> dict[str, dict[Any, Any]]:
        """Ledger rows of those units that are committed."""
        ledger = self.ledger()
        found = ledger.loc[ledger.index.isin(list(unit_ids))]
        return {str(row["unit_id"]): row for row in found.reset_index().to_dict("records")}

    def read_images(self, unit_id: str, row: Mapping[str, Any]) -> dict[str, bytes]:
        """The unit's three PNG images as committed, by role. StoreError when a byte has changed since."""
        path = self._paths.candidate_tar(row["block_id"])
        extents = [Extent(int(row[f"{role}_offset"]), int(row[f"{role}_bytes"])) for role in ROLES]
        images = dict(zip(ROLES, read_extents(path, extents), strict=True))
        for role, data in images.items():
            if hashlib.sha256(data).hexdigest() != row[f"{role}_sha256"]:
                raise StoreError(f"{path}: the {role} image of unit {unit_id} is damaged; delete this file, "
                                 "then run the same command again")
        return {str(role): data for role, data in images.items()}
