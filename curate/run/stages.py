"""The stages of a run: read inputs, write missing captions, the recipe's expert calls, the scorers in their order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from curate.engine import CaptionStep, ExpertStep, ReadInputs, ScoreStep, Step
from curate.planning import calls, captions_wanted
from curate.run.config import RunConfig
from curate.run.planning import fingerprint
from curate.seal import RuleConfig, broken_units
from curate.store import RunStore


@dataclass(frozen=True)
class SkipBroken:
    """The cascade: units that already broke a rule need no dear scores. Rules of one layout need the units' layouts."""

    rules: tuple[RuleConfig, ...]

    def __call__(self, scores: pd.DataFrame) -> npt.NDArray[np.bool_]:
        """``scores``: a row a unit, columns of the scorers that ran before and ``layout``."""
        return broken_units(scores, self.rules)


def make_stages(config: RunConfig) -> list[Step]:
    """All stages in order; the engine fuses neighbours with equal resources into one worker."""
    makes: list[Step] = [ReadInputs(config.sources, size=config.size, fit=config.fit)]
    if config.captioner is not None:
        makes.append(CaptionStep(config.captioner, captions_wanted(config.recipe)))
    makes += [ExpertStep(call, config.experts[call.verb], config.seed) for call in calls(config.recipe)]
    spare = SkipBroken(config.rules)
    return [*makes, *(ScoreStep(name, scorer, fingerprint(scorer.identity()), spare if name in config.cascade else None)
                      for name, scorer in config.scorers.items())]


def score_tables(store: RunStore) -> list[tuple[str, str]]:
    """(name, fingerprint) of every scorer as the run knew it: sealing needs no model, nor that it is still the same."""
    return [(name, fingerprint(identity)) for name, identity in store.info["scorers"].items()]
