"""What a training's folder remembers: the config of its checkpoint, so that none is gone on with under another."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from curate.errors import ConfigError
from curate.files import write_json
from curate.models import model_hash
from curate.seeds import digest
from curate.train.config import TrainConfig
from pipelines.data.manifest import dataset_digest

FILE, CHECKPOINT = "config.json", "checkpoint.pt"

FREE = frozenset({
    "steps",  # a training may be made longer; with a cooldown its last steps then had a falling rate
    "log_every", "save_every", "keep_last",  # what is written when
    "samples", "validation",  # take no part in the training
    "readers",  # the same batches by others
    "workers", "shard", "ray_address", "device",  # the same training by others, but for rounding
    "cache", "gradient_checkpointing", "compile",  # the same numbers by another way, but for rounding
    "out",  # a folder may be moved
})
"""Keys that may differ between a checkpoint and what goes on from it."""

SHOWN = 12


def check_begun(config: TrainConfig) -> None:
    """Raise ConfigError with the keys that differ where `out` has a checkpoint that was made under another config.

    Models and datasets count by their contents, not by their places. A checkpoint without a config beside it is of a
    version that wrote none: it is taken.
    """
    out = Path(config.out)
    path = out / FILE
    if not ((out / CHECKPOINT).is_file() and path.is_file()):
        return
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        before = _identity(TrainConfig.model_validate_json(json.dumps(kept["config"])), kept["contents"])
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"cannot be read as the config of a training ({error}); use another out, or remove the folder", file=path
        ) from error
    now = _identity(config, _contents(config))
    differing = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
    if differing:
        told = "; ".join(_told(key, before, now, kept["contents"]) for key in differing[:SHOWN])
        more = f"; and {len(differing) - SHOWN} more" if len(differing) > SHOWN else ""
        raise ConfigError(
            f"{out / CHECKPOINT} was made under another config: {told}{more}. Use another out for this one, or remove "
            "the folder",
            file=path,
            key=differing[0],
        )


def remember(config: TrainConfig) -> None:
    """Write the config with all its defaults, hashes of the models and data that it names, and a digest of both."""
    contents = _contents(config)
    identity = json.dumps(_identity(config, contents), sort_keys=True)
    kept = {"config": config.model_dump(mode="json"), "contents": contents, "digest": digest(identity)}
    write_json(Path(config.out) / FILE, kept)


def _identity(config: TrainConfig, contents: Mapping[str, str]) -> dict[str, Any]:
    """Dotted key -> value of all that decides what the training becomes."""
    values = config.model_dump(mode="json", exclude={*FREE, "base"})  # the base is among the contents
    if config.data.sharding == "shards":  # then the order of samples is a matter of how many readers there are
        values["workers"] = config.workers
    if config.reward is None:
        del values["reward_model"]
    return {**_flat(values), **contents}


def _contents(config: TrainConfig) -> dict[str, str]:
    """Hashes of what lies in the places that the config names."""
    base = config.base
    models: dict[str, str] = {}
    if config.reward is not None:
        models["reward_model"] = config.reward_model
    if config.uso is not None:
        models["uso"] = config.uso
    datasets = {
        f"data.datasets.{number}.path": dataset_digest(dataset.path, config.data.split)
        for number, dataset in enumerate(config.data.datasets)
    }
    whole = model_hash(base) if isinstance(base, str) else digest(json.dumps(base.identity(), sort_keys=True))
    return {"base": whole, **{key: model_hash(model) for key, model in models.items()}, **datasets}


def _told(key: str, before: Mapping[str, Any], now: Mapping[str, Any], contents: Mapping[str, str]) -> str:
    if key in contents and key in now:
        return f"{key} has other contents"
    return f"{key} was {_value(before, key)} and is {_value(now, key)}"


def _value(values: Mapping[str, Any], key: str) -> str:
    return json.dumps(values[key]) if key in values else "absent"


def _flat(value: Any, at: str = "") -> dict[str, Any]:
    if isinstance(value, dict) and value:
        return {k: v for name, each in value.items() for k, v in _flat(each, f"{at}.{name}" if at else name).items()}
    if isinstance(value, list) and any(isinstance(each, dict) for each in value):
        return {k: v for place, each in enumerate(value) for k, v in _flat(each, f"{at}.{place}").items()}
    return {at: value}
