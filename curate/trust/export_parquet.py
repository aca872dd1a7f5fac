"""Parquet with images, ready for the Hub: ``load_dataset`` gives PIL images, pandas gives their bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curate.interfaces import ROLES
from curate.seal.samples import dump_json
from curate.trust.exported import Export, Sample, new_folder

ROWS = 100
"""Of a row group: what a reader must hold at once."""
FILE_BYTES = 400 * 2**20
TEXT = ("unit_id", "caption", "style_caption", "subject", "style_subject", "style_name", "layout", "recipe", "inputs",
        "provenance")
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])

LOADING = '''```python
from datasets import load_dataset
dataset = load_dataset("<this folder or the hub id>")       # dataset["train"][0]["stylized"] is a PIL image

import pandas as pd
frame = pd.read_parquet("data/")                            # frame["stylized"][0]["bytes"] is a jpg, png or webp
```'''


def export_parquet(export: Export, out: Path) -> None:
    """``data/<split>-NNNNN-of-NNNNN.parquet`` and a card."""
    schema = _schema(export.columns)
    with new_folder(out) as folder:
        (folder / "data").mkdir()
        for split in export.splits:
            _write_split(export, split, schema, folder / "data")
        about = ["## Load it", LOADING, "## Columns",
                 "`content`, `style`, `stylized`: images; `style_name` labels the style; `inputs` (JSON) names the "
                 "source images with hash and licence; `provenance` (JSON) the experts; the others are scores."]
        export.write_card(folder, files={split: f"data/{split}-*.parquet" for split in export.splits}, says=about,
                          tags=("parquet",))


def _schema(columns: dict[str, str]) -> pa.Schema:
    """With the features that `datasets` reads from parquet, so that images are images."""
    scores = {name: pa.int64() if kind == "int64" else pa.float32() for name, kind in columns.items()}
    fields = [pa.field("unit_id", pa.string()), *(pa.field(role, IMAGE) for role in ROLES),
              *(pa.field(name, pa.string()) for name in TEXT[1:]), *(pa.field(n, kind) for n, kind in scores.items())]
    features: dict[str, Any] = {
        field.name: {"_type": "Image"} if field.type == IMAGE else {
            "dtype": {"float": "float32"}.get(str(field.type), str(field.type)), "_type": "Value"} for field in fields}
    return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": features}})})


def _write_split(export: Export, split: str, schema: pa.Schema, folder: Path) -> None:
    parts: list[Path] = []
    writer: pq.ParquetWriter | None = None
    rows: list[dict[str, Any]] = []
    written = 0
    for sample in export.samples(split):
        rows.append(_row(sample, schema))
        if len(rows) < ROWS:
            continue
        written, writer = _flush(rows, schema, folder, split, parts, writer, written)
    if rows:
        written, writer = _flush(rows, schema, folder, split, parts, writer, written)
    if writer:
        writer.close()
    for i, part in enumerate(parts):
        part.rename(folder / f"{split}-{i:05d}-of-{len(parts):05d}.parquet")


def _flush(rows: list[dict[str, Any]], schema: pa.Schema, folder: Path, split: str, parts: list[Path],
           writer: pq.ParquetWriter | None, written: int) -> tuple[int, pq.ParquetWriter | None]:
    """Write a row group; a file that is large enough is closed after it."""
    if writer is None:
        parts.append(folder / f"{split}-{len(parts)}.part")
        writer, written = pq.ParquetWriter(parts[-1], schema), 0
    writer.write_table(pa.Table.from_pylist(rows, schema=schema))
    written += sum(len(row[role]["bytes"]) for row in rows for role in ROLES)
    rows.clear()
    if written >= FILE_BYTES:
        writer.close()
        return 0, None
    return written, writer


def _row(sample: Sample, schema: pa.Schema) -> dict[str, Any]:
    said = sample.described
    images = {role: {"bytes": data, "path": f"{sample.unit_id}.{role}.{sample.suffix}"}
              for role, data in sample.images.items()}
    text = {name: said[name] for name in TEXT if name in said}
    scores = {name: value for name, value in said["scores"].items() if name in schema.names}
    return {**text, **images, "style_name": said["style"], "inputs": dump_json(said["inputs"]), **scores}
