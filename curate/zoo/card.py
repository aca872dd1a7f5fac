"""Model cards: a README.md beside the weights, whose numbers are put in by code and never typed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from curate.files import write_atomic
from curate.models import model_hash
from curate.zoo.data import HELDOUT_SETS, EmojiData

FINGERPRINT = "Fingerprint"
"""Heading of the section that holds the model's hash."""


def write_card(folder: Path, *, title: str, summary: str, sections: Mapping[str, str]) -> None:
    """Write `folder/README.md`: a title, a summary, and one `## heading` for each section."""
    parts = [f"# {title}", summary.strip(), *(f"## {name}\n\n{body.strip()}" for name, body in sections.items())]
    write_atomic(folder / "README.md", ("\n\n".join(parts) + "\n").encode())


def replace_section(folder: Path, name: str, body: str) -> None:
    """Put `body` under `## name` of the card in `folder`, in place of what stood there, or at the end."""
    path = folder / "README.md"
    text = path.read_text(encoding="utf-8")
    section = f"## {name}\n\n{body.strip()}\n"
    found = re.search(rf"^## {re.escape(name)}\n.*?(?=^## |\Z)", text, flags=re.MULTILINE | re.DOTALL)
    if found is None:
        text = f"{text.rstrip()}\n\n{section}"
    else:
        rest = text[found.end() :]
        text = text[: found.start()] + section + ("\n" + rest if rest else "")
    write_atomic(path, text.encode())


def note_fingerprint(folder: Path) -> None:
    """Put the model's hash into its card, so that a damaged copy can be told."""
    model_hash.cache_clear()  # the folder has just been written
    replace_section(folder, FINGERPRINT, f"`{model_hash(str(folder))}`")


def data_table(data: EmojiData) -> str:
    """Markdown: every set, its licence, its drawings, and whether training saw it."""
    lines = ["| set | licence | drawings | in training |", "|---|---|---|---|"]
    for index, (name, licence) in enumerate(zip(data.set_names, data.licences, strict=True)):
        seen = "no, held out" if name in HELDOUT_SETS else "yes"
        lines.append(f"| {name} | {licence} | {int((data.set_index == index).sum())} | {seen} |")
    held = int(data.heldout_subjects.sum())
    lines.append(f"\n{len(data.subjects)} subjects, {held} of them held out of every training.")
    lines.append("From the npm packages `@iconify-json/*`.")
    return "\n".join(lines)


def facts_table(facts: Mapping[str, str | int | float]) -> str:
    """Markdown: one fact a line; floats with four significant digits."""
    shown = {key: f"{value:.4g}" if isinstance(value, float) else str(value) for key, value in facts.items()}
    return "\n".join(["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in shown.items())])
