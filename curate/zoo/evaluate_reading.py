"""What the restyle expert's style encoder gets right of a style, and what its painting would be with all of it right.

Two figures say how it reads, on held-out subjects and unseen parameters; the others are those of `evaluate_restyle`
with the style's labels told instead of read: what is left of the error then is the painting's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from curate.parametric import FAMILIES
from curate.zoo.data import PLAIN_SETS, EmojiData
from curate.zoo.figures import Figure
from curate.zoo.restyle_cases import Cases, Pixels, parametric_cases
from curate.zoo.restyle_data import RestyleStream, to_float
from curate.zoo.restyle_reader import told
from curate.zoo.style_labels import StyleLabels, label
from pipelines.compact.network import Reading, paint
from pipelines.compact.pipeline import TASKS, RestylePipeline, Task

BATCH: Final = 32


@dataclass(frozen=True)
class _Read:
    """A block of cases: where it stands, what is true of its references, and what was read off them."""

    place: slice
    labels: StyleLabels
    reading: Reading


@torch.no_grad()
def reading_figures(pipeline: RestylePipeline, data: EmojiData, *, count: int = 256) -> list[Figure]:
    """Four figures over `count` cases."""
    cases = parametric_cases(data, [data.set_names.index(name) for name in PLAIN_SETS], count=count)
    read = list(_read(pipeline, cases.reference, cases, data))
    named = np.concatenate([each.reading.choices[1].argmax(1).numpy() == each.labels.choices[:, 1] for each in read])
    wrong, middle = (np.concatenate(errors) for errors in zip(*map(_errors, read), strict=True))
    return [
        Figure("reading: family named first", float(named.mean()), chance=1 / len(FAMILIES)),
        Figure(
            "reading: error of a style's own parameters, in [-1, 1]",
            float(wrong.mean()),
            noop=float(middle.mean()),
            truth=0.0,
        ),
        _told("stylize", pipeline, cases.image, cases.reference, cases.truth, read),
        _told(
            "destylize",
            pipeline,
            cases.truth,
            cases.truth,
            cases.image,
            list(_read(pipeline, cases.truth, cases, data)),
        ),
    ]


def _read(pipeline: RestylePipeline, references: Pixels, cases: Cases, data: EmojiData) -> Iterator[_Read]:
    sets = RestyleStream(data, seed=0).sets
    for at in range(0, len(references), BATCH):
        place = slice(at, at + BATCH)
        styles, drawn_by = cases.styles[place], [sets.index(which) for which in cases.source[place].tolist()]
        labels = label(styles, drawn_by, [True] * len(styles))
        yield _Read(place, labels, pipeline.style_encoder.read(to_float(references[place])))


def _errors(read: _Read) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Of the parameters that the styles have: the reading's errors, and those of always saying the middle."""
    used = read.labels.used
    return np.abs(read.reading.values.numpy() - read.labels.values)[used], np.abs(read.labels.values)[used]


def _told(
    task: Task, pipeline: RestylePipeline, image: Pixels, reference: Pixels, truth: Pixels, read: list[_Read]
) -> Figure:
    wrong = unchanged = 0.0
    for each in read:
        before, after = to_float(image[each.place]), to_float(truth[each.place])
        embedding, recolouring = pipeline.style_encoder.embed(told(each.reading, each.labels))
        which = torch.full((len(before),), TASKS.index(task))
        drawn: Tensor = paint(
            pipeline.unet,
            before,
            to_float(reference[each.place]),
            which,
            embedding,
            recolouring,
            fold=pipeline.style_encoder.config.fold,
        ).clamp(-1, 1)
        wrong += float((drawn - after).abs().sum())
        unchanged += float((before - after).abs().sum())
    name = f"{task}: L1 to the truth over the no-op's, told the style"
    return Figure(name, wrong / unchanged, noop=1.0, truth=0.0)
