"""A plain folder: image files by split and a metadata.csv beside them, which `imagefolder` of `datasets` reads too."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from curate.trust.exported import Export, new_folder

TEXT = ("caption", "style_caption", "subject", "style_subject", "layout", "recipe")


def export_folder(export: Export, out: Path) -> None:
    """``<split>/<id>.<role>.<format>`` and ``<split>/metadata.csv``."""
    with new_folder(out) as folder:
        for split in export.splits:
            (folder / split).mkdir()
            rows = []
            for sample in export.samples(split):
                names = {role: f"{sample.unit_id}.{role}.{sample.suffix}" for role in sample.images}
                for role, data in sample.images.items():
                    (folder / split / names[role]).write_bytes(data)
                said = sample.described
                rows.append({"unit_id": sample.unit_id, **{f"{role}_file_name": name for role, name in names.items()},
                             **{name: said[name] for name in TEXT}, "style_name": said["style"], **said["scores"]})
            pd.DataFrame(rows).to_csv(folder / split / "metadata.csv", index=False)
        about = ["## Files", "`<split>/<id>.<content, style or stylized>`: the images; `<split>/metadata.csv`: a row a "
                             "triplet with file names, captions and scores."]
        export.write_card(folder, files={}, says=about, tags=())
