"""Pictures of the documentation: a small run of the quick start by the zoo's models, and what its scores say.

No picture lies in the repository. The run is made once, and again when its config, this file or a model changes.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from curate.dataset.opened import Dataset, Triplet

CONFIG = Path(__file__).parents[1] / "configs" / "quickstart.yaml"
SMALLER = ("sources.input.count=40", "engine.kind=local", "cascade=[]")
"""80 units; all scorers look at all of them, so that a rejected one has a whole matrix too."""
NAMES = ("contact_sheet.png", "kept.png", "rejected.png")
MATRICES = ("matrix-kept.md", "matrix-rejected.md")
SIDE_PX = 192
GAP_PX = 12


class Row(NamedTuple):
    """One kind of similarity: its words in the table and the beginning of its columns."""

    words: str
    columns: str


ROWS = (Row("style similarity (CSD)", "csd.style"), Row("content similarity (CLIP)", "clip.image"))
PAIRS = ("content_stylized", "style_stylized", "content_style")


def make(folder: Path) -> None:
    """Write ``NAMES`` and ``MATRICES`` into the folder, unless they are there already."""
    from curate.files import write_atomic
    from curate.models import model_hash
    from curate.seeds import digest

    stamp = folder / "made-of"
    files = (CONFIG.read_bytes(), Path(__file__).read_bytes())
    key = digest(*files, *(model_hash(f"zoo:{name}") for name in ("restyle", "csd", "clip", "vlm")))
    if stamp.exists() and stamp.read_text() == key and all((folder / name).exists() for name in (*NAMES, *MATRICES)):
        return
    _draw(folder)
    write_atomic(stamp, key.encode())


def blank(folder: Path) -> None:
    """The same names, nothing on them: for quick looks at the text."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        Image.new("RGB", (3 * SIDE_PX, SIDE_PX), "#8888aa").save(folder / name)
    for name in MATRICES:
        (folder / name).write_text("(no numbers: this build was made without pictures)\n", encoding="utf-8")


def _draw(folder: Path) -> None:
    import curate
    from curate.files import write_atomic
    from curate.report import contact_sheet
    from curate.run.command import run_config

    run = folder / "run"
    shutil.rmtree(run, ignore_errors=True)  # of another config, or another version
    run_config(CONFIG, (f"output={run}", *SMALLER), dry_run=False, retry_failed=False)
    contact_sheet(run, folder / "contact_sheet.png", kept=4, rejected=4, columns=2)
    dataset = curate.open(run)
    for status in ("kept", "rejected"):
        triplet = dataset[_clearest(dataset, status)]
        side_by_side(triplet).save(folder / f"{status}.png")
        write_atomic(folder / f"matrix-{status}.md", matrix(triplet, dataset.dataset["rules"]).encode())


def _clearest(dataset: Dataset, status: str) -> str:
    """The kept unit of shifted layout farthest from all thresholds, or the rejected one that breaks one by most.

    Drawings in their set's own style are left out: at 64 px one hardly sees what was done to them.
    """
    import pandas as pd

    frame = dataset.frame
    frame = frame[(frame["status"] == status) & ~frame["style"].str.endswith("as-drawn")]
    if status == "kept":
        frame = frame[frame["layout"] == "shifted"]
    else:
        residue = frame[frame["reason"] == "content still carries the style"]
        frame = residue if len(residue) else frame
    rules = [rule for rule in dataset.dataset["rules"] if rule["column"].startswith(("csd.", "clip.", "copy_paste."))]
    margins = pd.concat([frame[rule["column"]] - rule["min"] if rule["min"] is not None
                         else rule["max"] - frame[rule["column"]] for rule in rules], axis=1).min(axis=1)
    return str(margins.idxmax() if status == "kept" else margins.idxmin())


def side_by_side(triplet: Triplet) -> Any:
    """Content, style reference and target in a row, enlarged without smoothing."""
    from PIL import Image, ImageOps

    side = SIDE_PX + 2  # with a frame
    sheet = Image.new("RGBA", (3 * side + 2 * GAP_PX, side), (0, 0, 0, 0))
    for i, picture in enumerate((triplet.content, triplet.style, triplet.stylized)):
        large = picture.resize((SIDE_PX, SIDE_PX), Image.Resampling.NEAREST)
        sheet.paste(ImageOps.expand(large, 1, "#c8ccd4"), (i * (side + GAP_PX), 0))
    return sheet


def matrix(triplet: Triplet, rules: list[Mapping[str, Any]]) -> str:
    """The score matrix as a Markdown table, each number with the bound that a rule sets."""
    of_column = {rule["column"]: rule for rule in rules}
    lines = ["| | " + " | ".join(pair.replace("_", " ~ ") for pair in PAIRS) + " |", "|---" * (len(PAIRS) + 1) + "|"]
    for row in ROWS:
        cells = [_cell(triplet.scores[f"{row.columns}.{pair}"], of_column.get(f"{row.columns}.{pair}"))
                 for pair in PAIRS]
        lines.append(f"| {row.words} | " + " | ".join(cells) + " |")
    words = f"“{triplet.caption}” in the style `{triplet.style_name}`, {triplet.layout} layout"
    verdict = triplet.status + (f": {triplet.reason}" if triplet.reason else "")
    return "\n".join([f"{words}. **{verdict.capitalize()}.**", "", *lines, ""])


def _cell(value: float, rule: Mapping[str, Any] | None) -> str:
    if rule is None:
        return f"{value:.2f}"
    low, high = rule["min"], rule["max"]
    holds = (low is None or value >= low) and (high is None or value <= high)
    bound = f"≥ {low:g}" if low is not None else f"≤ {high:g}"
    kind, sign = ("holds", "✓") if holds else ("broken", "✗")
    return f'<span class="{kind}">**{value:.2f}** {sign}</span> wanted {bound}'
