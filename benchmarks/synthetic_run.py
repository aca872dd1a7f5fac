"""A sealed run directory of any size, written in seconds without a model: for benchmarks of what reads an index.

Scores, styles, layouts, hashes and verdicts are random but as a run has them: most kept, others broken by one of six
rules, a few failed, a few near-duplicates. The first ``pictures`` units have candidates, so a gallery has something to
show.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from PIL import Image

from curate.files import write_json
from curate.interfaces import ROLES
from curate.records import SourceItem, Unit, Work
from curate.seal import NearDuplicateConfig, RuleConfig, decide
from curate.store import RunStore
from curate.store.plan import SCHEMA
from curate.store.tables import write_table

RULES = (RuleConfig(column="csd.style.style_stylized", min=0.25, reason="style reference and target differ in style"),
         RuleConfig(column="csd.style.content_stylized", max=0.85, reason="content still carries the style"),
         RuleConfig(column="clip.image.content_stylized", min=0.2, reason="content and target differ in subject"),
         RuleConfig(column="clip.image.style_stylized", max=0.9, reason="style reference shows the target's subject"),
         RuleConfig(column="copy_paste.alignment", max=0.8, layout="shifted", reason="shifted layout is a copy"),
         RuleConfig(column="vlm.style.content_stylized", max=0.97, reason="judge sees the style in the content"))
COLUMNS = (*(rule.column for rule in RULES), "csd.style.content_style", "csd.content.content_stylized",
           "csd.content.style_stylized", "csd.content.content_style", "clip.image.content_style", "clip.text.stylized",
           "clip.text.content", "colour.only", "colour.texture_kept", "vlm.subject.content_stylized")
SCORERS = ("csd", "clip", "copy_paste", "colour", "vlm", "phash")
LICENCES = ("CC-BY-4.0", "CC-BY-SA-4.0", "Apache-2.0")


def write_run(root: Path, num_units: int, *, pictures: int = 320, styles: int = 500, seed: int = 0) -> None:
    """Make the directory at ``root``: run.json, plan, some candidates, and shards/ with its index but without tars."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({name: rng.beta(2.0, 1.2, num_units).astype(np.float32) for name in COLUMNS})
    frame["layout"] = np.where(np.arange(num_units) % 2, "shifted", "preserved")
    frame["phash.bits"] = rng.integers(-2**63, 2**63 - 1, num_units)
    ids = np.array([f"{i:032x}" for i in range(num_units)], dtype=object)
    index = _index(frame, ids, rng.integers(0, styles, num_units), rng)
    some = [_unit(index, i) for i in range(min(pictures, num_units))]
    config = {"rules": [rule.model_dump(mode="json") for rule in RULES], "output": str(root)}
    store = RunStore.create(root, {"config": config}, some, 8)
    for block in store.blocks():
        images = {unit.unit_id: {role: _picture(rng) for role in ROLES} for unit in block.units}
        store.commit_candidates(Work(block=block, images=images, seconds={"destylize": 1.0, "stylize": 2.0}),
                                provenance={"experts": {"stylize": {"model": "synthetic"}}})
    write_table(root / "plan.parquet", _plan(index))
    write_table(root / "shards" / "index.parquet", pa.Table.from_pandas(index, preserve_index=False))
    (root / "shards" / "README.md").write_text("# Style triplets\n\nSynthetic: random numbers, no pictures.\n")
    write_json(root / "shards" / "dataset.json", _dataset(index))


def _index(frame: pd.DataFrame, ids: np.ndarray, styles: np.ndarray, rng: np.random.Generator) -> pd.DataFrame:
    n = len(frame)
    verdicts = decide(frame, RULES).table
    status = np.where(verdicts["verdict"] == "pass", "kept", "rejected").astype(object)
    reason, stage = verdicts["reason"].to_numpy(dtype=object), np.where(status == "kept", "", "rules").astype(object)
    failed, twin = rng.random(n) < 0.002, (rng.random(n) < 0.01) & (status == "kept")
    status[failed], stage[failed], reason[failed] = "failed", "stylize", "the model returned no image"
    twin &= ~failed
    status[twin], stage[twin] = "rejected", "near_duplicates"
    reason[twin] = "near duplicate of " + ids[rng.integers(0, n, int(twin.sum()))]
    frame.loc[failed, list(COLUMNS)] = np.nan
    subject = np.arange(n) // 4
    words = {"caption": "a drawing of subject ", "style_caption": "subject ", "subject": "subject "}
    text = {name: np.char.add(prefix, subject.astype(str)).astype(object) for name, prefix in words.items()}
    return pd.DataFrame({
        "index": np.arange(n), "unit_id": ids, "recipe": "from_stylized", "layout": frame["layout"], **text,
        "style_subject": text["subject"][::-1], "style": np.char.add("style ", styles.astype(str)).astype(object),
        "split": np.where(subject % 10, "train", "val"), "status": status, "stage": stage, "reason": reason,
        "shard": np.where(status == "kept", "train-000000.tar", ""), "errors": "", "unscored_by": "", "selected": True,
        **{f"{name}_key": subject * 0x9E3779B97F4A7 for name in ("source", "subject", "style_subject")},
        **{f"{role}_{what}": np.array(LICENCES, dtype=object)[subject % 3] for role in ("stylized", "subject")
           for what in ("licence", "attribution")},
        **{name: frame[name] for name in ("phash.bits", *COLUMNS)}})


def _dataset(index: pd.DataFrame) -> dict[str, Any]:
    """dataset.json as ``seal`` writes it."""
    counts = index["status"].value_counts()
    rejected = index.loc[index["status"] == "rejected", "reason"]
    told = rejected.str.replace(r" of [0-9a-f]{32}$", "", regex=True).value_counts()
    kept = {split: int(((index["status"] == "kept") & (index["split"] == split)).sum()) for split in ("train", "val")}
    columns = {"phash.bits": "int64", **dict.fromkeys(COLUMNS, "float")}
    return {"format": 1, "members": [], "shards": [], "columns": columns,
            "owners": {name: name.partition(".")[0] for name in columns},
            "splits": {split: {"samples": n, "shards": 1, "bytes": n * 30_000} for split, n in kept.items()},
            "totals": {"planned": len(index), "kept": int(counts["kept"]), "rejected": told.to_dict(),
                       "failed": {"stylize: the model returned no image": int(counts.get("failed", 0))}, "pending": 0},
            "scorers": [{"name": name, "fingerprint": "0"} for name in SCORERS],
            "rules": [rule.model_dump(mode="json") for rule in RULES], "rule_labels": [rule.label for rule in RULES],
            "near_duplicates": NearDuplicateConfig().model_dump(mode="json"), "settings": {}}


def _plan(index: pd.DataFrame) -> pa.Table:
    """Two input images a unit, from three folders."""
    n = len(index)
    place = np.char.add(np.char.add("/data/set-", (np.arange(n) % 3).astype(str)), "/picture.png")
    roles = np.tile(np.array(["stylized", "subject"], dtype=object), n)
    item: Mapping[str, Any] = {"role": roles, "source": np.where(roles == "stylized", "input", "subjects"),
                               "uri": np.repeat(place, 2).astype(object)}
    kind = SCHEMA.field("inputs").type.value_type
    fields = [pa.array(item[field.name], pa.string()) if field.name in item else pa.nulls(2 * n, pa.string())
              for field in kind]
    inputs = pa.ListArray.from_arrays(pa.array(np.arange(n + 1) * 2, pa.int32()),
                                      pa.StructArray.from_arrays(fields, fields=list(kind)))
    own = {"side": index["split"], "block": np.arange(n) // 8, "block_id": "", "inputs": inputs}
    columns = [own.get(name, index.get(name, "")) for name in SCHEMA.names]
    return pa.table([c if isinstance(c, pa.Array) else pa.array([c] * n, pa.string()) if isinstance(c, str)
                     else pa.array(c) for c in columns], schema=SCHEMA)


def _unit(index: pd.DataFrame, i: int) -> Unit:
    row = index.iloc[i]
    item = SourceItem(source="input", locator=str(i), uri=f"/data/{i}.png", sha256=f"{i:064x}")
    return Unit(unit_id=row["unit_id"], index=i, recipe="from_stylized", layout=row["layout"], caption=row["caption"],
                style_caption=row["style_caption"], subject=row["subject"], style_subject=row["style_subject"],
                style=row["style"], side=row["split"], inputs={"stylized": item})


def _picture(rng: np.random.Generator, size_px: int = 512) -> bytes:
    small = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
    out = io.BytesIO()
    small.resize((size_px, size_px), Image.Resampling.BICUBIC).save(out, "PNG", compress_level=1)
    return out.getvalue()
