"""curate train: read the config, train, say what came out."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from math import isnan
from pathlib import Path

from curate.config import apply_overrides, load_yaml, parse
from curate.errors import ConfigError
from curate.train.begun import CHECKPOINT
from curate.train.config import TrainConfig
from curate.train.training import train
from curate.train.validating import watches_too_little

INTERRUPTED = 130


def train_config(path: Path, overrides: Sequence[str], *, resume: bool = False) -> int:
    """Exit code 0 when the training has ended, 130 when a signal stopped it, after its step or by a second one at once:
    the same command goes on.

    With `resume` there must be a checkpoint to go on from, else ConfigError; without, one that is there is used too.
    """
    values, lines = load_yaml(path)
    config = parse(TrainConfig, apply_overrides(values, overrides), file=path, lines=lines)
    if resume and not (checkpoint := Path(config.out) / CHECKPOINT).is_file():
        raise ConfigError(
            f"no checkpoint to go on from: {checkpoint} is not there; without --resume the training begins", key="out"
        )
    if told := watches_too_little(config):
        print(f"note: {told}", file=sys.stderr, flush=True)
    try:
        result = train(config)
    except KeyboardInterrupt:
        print("stopped at once; the same command goes on from the last checkpoint", file=sys.stderr, flush=True)
        return INTERRUPTED
    loss = "ended before" if isnan(result.loss) else f"loss {result.loss:.4f}"
    print(f"step {result.step} of {config.steps}, {loss}, {result.seconds:.0f} s; {config.out}")
    return 0 if result.finished else INTERRUPTED
