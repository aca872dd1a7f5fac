"""``ScoreStep``: one scorer over the candidates of a block. It drops nothing; a unit it cannot score says why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from curate.engine.batches import Batch, Refusal
from curate.engine.steps import Apply, device_of, live_units, resources_of
from curate.errors import ModelError
from curate.images import decode
from curate.interfaces import ERROR, Resources, Score, ScorerConfig, TripletImages
from curate.records import Failure, Unit, Work, captioned

if TYPE_CHECKING:
    import pandas as pd

Values = dict[str, float | int]


class Scored(NamedTuple):
    """Numbers of one unit, and why some are lacking ("" if none is)."""

    values: Values
    error: str


Skip = Callable[["pd.DataFrame"], npt.NDArray[np.bool_]]
"""A row a unit: the score columns of all earlier scorers (NaN or NA = no number) and ``layout``; gives (N,) those that
need no more. Picklable."""


@dataclass(frozen=True)
class ScoreStep:
    """Numbers of one scorer at one ``fingerprint``. With ``skip`` it is part of the cascade.

    Scores land in ``work.scores[name]``; a unit that the scorer refuses, or of which it says why a number is lacking,
    lands in ``work.failures`` of the step's own ``Work``, which the engine records as an error of the scorer, never as
    a failed candidate.
    """

    name: str
    scorer: ScorerConfig
    fingerprint: str
    skip: Skip | None = None
    phase: Literal["scores"] = "scores"

    @property
    def resources(self) -> Resources:
        """Of the scorer's config."""
        return resources_of(self.scorer)

    def open(self) -> Apply:
        """Load the scorer."""
        score = self.scorer.load(device_of(self.resources))
        batch = Batch[TripletImages, Scored](lambda triplets: self._rows(score, triplets))

        def score_block(work: Work) -> Work:
            live = {unit.unit_id for unit in live_units(work)}
            units = work.block.units
            rows = batch.run([_triplet(unit, work) if unit.unit_id in live else None for unit in units])
            work.scores[self.name] = {}
            for unit, row in zip(units, rows, strict=True):
                if isinstance(row, Refusal):
                    work.failures[unit.unit_id] = Failure(self.name, row.reason)
                elif row is not None:
                    work.scores[self.name][unit.unit_id] = row.values
                    if row.error:
                        work.failures[unit.unit_id] = Failure(self.name, row.error)
            return work

        return score_block

    def _rows(self, score: Score, triplets: Sequence[TripletImages]) -> list[Scored]:
        """Columns (N,) turned into a row a triplet. ModelError when they are not what the config promises."""
        columns = dict(score(triplets))
        errors = columns.pop(ERROR, np.full(len(triplets), "", dtype=object))
        if set(columns) != set(self.scorer.columns):
            raise ModelError(f"scorer {self.name}: gave columns {sorted(columns)} and promised "
                             f"{sorted(self.scorer.columns)}")
        for column, values in (columns | {ERROR: errors}).items():
            if values.shape != (len(triplets),):
                raise ModelError(f"scorer {self.name}: {column} has shape {values.shape} for {len(triplets)} triplets")
        return [Scored({column: int(values[i]) if np.issubdtype(values.dtype, np.integer) else float(values[i])
                        for column, values in columns.items()}, str(errors[i])) for i in range(len(triplets))]


def _triplet(unit: Unit, work: Work) -> TripletImages:
    images = work.images[unit.unit_id]
    unit = captioned(unit, work.captions.get(unit.unit_id))
    return TripletImages(content=decode(images["content"]), style=decode(images["style"]),
                         stylized=decode(images["stylized"]), caption=unit.caption,
                         style_caption=unit.style_caption, layout=unit.layout)
