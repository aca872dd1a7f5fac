"""curate export: the kept triplets in the form that another tool reads."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

from curate.dataset import SealedFolder
from curate.dataset.ids import read_ids
from curate.trust.combining import combine
from curate.trust.export_energon import export_energon
from curate.trust.export_folder import export_folder
from curate.trust.export_open_clip import export_open_clip
from curate.trust.export_parquet import export_parquet
from curate.trust.exported import Export

Form = Literal["parquet", "shards", "folder", "open_clip", "energon"]


def export(path: Path, out: Path, form: Form, ids: Path | None) -> None:
    """Write ``out``; nothing is decoded or encoded again. ConfigError for ids that are not here."""
    sealed = SealedFolder(path)
    chosen = read_ids(ids, sealed.index(["unit_id"]).column("unit_id").to_pylist()) if ids else None
    whole = Export(sealed, chosen)
    match form:
        case "parquet":
            export_parquet(whole, out)
        case "folder":
            export_folder(whole, out)
        case "open_clip":
            export_open_clip(whole, out)
        case "energon":
            export_energon(sealed, out, chosen)
        case "shards":
            combine([sealed], out, ids=chosen)
    sizes = ", ".join(f"{split} {len(mine)}" for split, mine in whole.splits.items())
    unkept = 0 if chosen is None else len(chosen) - sum(map(len, whole.splits.values()))
    left_out = f" ({unkept} of the list left out: not kept)" if unkept else ""
    print(f"{sizes}{left_out} in {out}", file=sys.stderr)
