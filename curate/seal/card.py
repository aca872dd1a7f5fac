"""The data card (README.md beside the shards): what is in them, under which licences, and how to load them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

LOADING = '''```python
import webdataset as wds                                    # samples with PIL images and the parsed .json
dataset = wds.WebDataset("{first}", shardshuffle=False).decode("pil")

from datasets import load_dataset                           # the folder, or the hub id it was uploaded to
dataset = load_dataset("webdataset", data_files={{"train": "train-*.tar"}}, split="train", streaming=True)

import ray.data
dataset = ray.data.read_webdataset("{first}", decoder=None)
```'''


class Origin(NamedTuple):
    """One source image of a kept triplet, and under which terms it came."""

    licence: str
    attribution: str
    sha256: str


def data_card(dataset: Mapping[str, Any], origins: Iterable[Origin]) -> str:
    """Markdown with the front matter of a Hugging Face dataset card. ``dataset`` is the content of dataset.json."""
    totals, splits = dataset["totals"], dataset["splits"]
    sizes = ", ".join(f"{name} {s['samples']} in {_count(s['shards'], 'shard')}" for name, s in splits.items())
    first = dataset["shards"][0]["name"] if dataset["shards"] else "train-000000.tar"
    parts = [
        front_matter({name: f"{name}-*.tar" for name in splits}, "webdataset"),
        "# Style triplets",
        "Each sample is a triplet: the target (`stylized`) shows the subject of `content` in the style of `style`.",
        f"**{_count(totals['kept'], 'triplet')}** ({sizes or 'no shards'}), out of {totals['planned']} planned.",
        "## A sample", _members(dataset["members"]),
        "## Load it", LOADING.format(first=first),
        "## Licences of the source images", licence_table(origins),
        "Generated images derive from these sources; `inputs` in a sample's `.json` names those of the sample.",
        "## Licences of the models that made them", _models(dataset.get("models", ())),
        "## What was kept, and why", _outcomes(totals), "Rules, in order:", rule_list(dataset),
        "The split is by subject: no subject of a val triplet stands in train.",
        "## Scores", "\n".join(f"* `{name}` ({kind})" for name, kind in dataset["columns"].items()) or "none",
        "## Files", "`dataset.json` lists shards with sizes and sha256; `index.parquet` has a row for every planned "
        "triplet, rejected and failed ones too, with scores and reason.",
    ]
    return "\n\n".join(parts) + "\n"


def front_matter(files: Mapping[str, str], *tags: str) -> str:
    """What the Hub reads of a card. ``files``: split -> pattern of its files."""
    lines = ["---", "license: other", "task_categories:", "- image-to-image", "tags:", "- style-transfer",
             *(f"- {tag}" for tag in tags)]
    if files:
        lines += ["configs:", "- config_name: default", "  data_files:"]
        for split, pattern in files.items():
            lines += [f"  - split: {split}", f"    path: {pattern}"]
    return "\n".join([*lines, "---"])


def _members(suffixes: Sequence[str]) -> str:
    says = {"txt": "caption of content and target", "json": "scores, captions, subject, style, sources, provenance"}
    return "\n".join(f"* `<id>.{suffix}`: {says.get(suffix, suffix.split('.')[0] + ' image')}" for suffix in suffixes)


def licence_table(origins: Iterable[Origin]) -> str:
    """Markdown: source images by licence and attribution."""
    images: dict[tuple[str, str], set[str]] = {}
    for one in origins:
        images.setdefault((one.licence or "not stated", one.attribution or "not stated"), set()).add(one.sha256)
    rows = [f"| {_cell(licence)} | {_cell(attribution)} | {len(images[licence, attribution])} |"
            for licence, attribution in sorted(images)]
    if not rows:
        return "No triplets were kept."
    return "\n".join(["| licence | attribution | images |", "|---|---|---|", *rows])


def _models(models: Sequence[Mapping[str, str]]) -> str:
    rows = [f"| {each['verb']} | {_cell(each['model']) or 'local folder'} | {_cell(each['licence']) or 'not stated'} |"
            for each in models]
    return "\n".join(["| verb | model | licence |", "|---|---|---|", *rows]) if rows else "None is named."


def _outcomes(totals: Mapping[str, Any]) -> str:
    rows = [("planned", totals["planned"]), ("kept", totals["kept"])]
    rows += [(f"rejected: {reason}", n) for reason, n in totals["rejected"].items()]
    rows += [(f"failed: {reason}", n) for reason, n in totals["failed"].items()]
    rows += [("pending", totals["pending"])]
    return "\n".join(["| outcome | units |", "|---|---|", *(f"| {_cell(name)} | {n} |" for name, n in rows)])


def rule_list(dataset: Mapping[str, Any]) -> str:
    """Markdown: the rules by number."""
    lines = [f"{i}. `{label}`" for i, label in enumerate(dataset["rule_labels"], 1)]
    near = dataset["near_duplicates"]
    if near:
        lines.append(f"{len(lines) + 1}. no near-duplicates: `{near['column']}` of kept targets from different sources "
                     f"differ in more than {near['max_distance']} bits")
    return "\n".join(lines) or "none"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
