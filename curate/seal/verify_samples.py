"""Checks of one sample: all members there, images decode, the .json is of this unit."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence

from PIL import Image

from curate.seal.fault import Fault


def check_sample(shard: str, key: str, members: Mapping[str, bytes], suffixes: Sequence[str]) -> list[Fault]:
    """Faults of a sample. ``suffixes``: what every sample of the dataset has."""
    faults = [Fault(shard, f"sample {key} has no .{suffix}") for suffix in suffixes if suffix not in members]
    faults += [Fault(shard, f"sample {key} has a stray .{suffix}") for suffix in members if suffix not in suffixes]
    for suffix in suffixes:
        data = members.get(suffix)
        if data is None:
            continue
        if suffix == "json":
            wrong = _check_json(key, data)
        elif suffix == "txt":
            wrong = _check_text(data)
        else:
            wrong = _check_image(data)
        if wrong:
            faults.append(Fault(shard, f"sample {key}: .{suffix} {wrong}"))
    return faults


def _check_json(key: str, data: bytes) -> str:
    try:
        unit_id = json.loads(data)["unit_id"]
    except (ValueError, KeyError, TypeError):
        return "cannot be parsed"
    return "" if unit_id == key else f"is of unit {unit_id}"


def _check_text(data: bytes) -> str:
    try:
        data.decode()
    except UnicodeDecodeError:
        return "is not UTF-8"
    return ""


def _check_image(data: bytes) -> str:
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
    except Exception as error:  # decoders raise what they like on damaged data; all of it means the same
        return f"does not decode: {error}"
    return ""
