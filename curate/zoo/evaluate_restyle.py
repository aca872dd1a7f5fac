"""How good the restyle expert is, on subjects, parameters and two sets that it never saw. Deterministic.

    curate zoo eval restyle        about 2 minutes on one CPU core

Every figure stands beside what doing nothing (the output is the input) and what the truth itself would get, and
beside chance, so that a number can be read without knowing the measure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from curate.zoo.data import HELDOUT_SETS, PLAIN_SETS, EmojiData, load_emoji
from curate.zoo.evaluate_reading import reading_figures
from curate.zoo.evaluator import load_evaluator
from curate.zoo.evaluator_network import Evaluator
from curate.zoo.figures import Figure, format_figures
from curate.zoo.restyle_cases import EVAL_SEED, Cases, Pixels, between_cases, parametric_cases, plain_all
from curate.zoo.restyle_data import to_float
from pipelines.compact.layout import draw_similarity, transform
from pipelines.compact.pipeline import RestylePipeline, Task

__all__ = ["evaluate", "format_figures", "load_and_evaluate"]

StyleVectors: TypeAlias = Callable[[Sequence[Image.Image]], NDArray[np.float32]]  # unit vectors (N, D)

NUM_CANDIDATES: Final = 100
BATCH: Final = 32


def evaluate(
    pipeline: RestylePipeline,
    evaluator: Evaluator,
    *,
    data: EmojiData | None = None,
    csd: StyleVectors | None = None,
    count: int = 256,
) -> list[Figure]:
    """All figures. `csd` gives unit style vectors of pictures (the product's scorer); without it its figure
    is left out."""
    data = data or load_emoji()
    unseen = [index for index, name in enumerate(data.set_names) if name in HELDOUT_SETS]
    seen = [data.set_names.index(name) for name in PLAIN_SETS]
    judge = _Judge(evaluator, data)
    figures: list[Figure] = []
    for where, sets in (("", seen), (", unseen sets", unseen)):
        cases = parametric_cases(data, sets, count=count if not where else count // 2)
        figures += _stylize_figures(pipeline, judge, cases, where, judged=not where)
        figures += _destylize_figures(pipeline, judge, cases, where, csd=csd, judged=not where)
    figures += _between_figures(pipeline, judge, between_cases(data, count=count))
    figures += _shifted_figures(pipeline, parametric_cases(data, seen, count=count // 2))
    return figures


def load_and_evaluate(
    weights: Path,
    evaluator: Path,
    *,
    data: EmojiData | None = None,
    csd: StyleVectors | None = None,
    count: int = 256,
) -> list[Figure]:
    """`evaluate` and `reading_figures` for a pipeline folder and an evaluator folder."""
    data = data or load_emoji()
    pipeline = RestylePipeline.from_pretrained(weights, dtype=torch.float32)
    figures = evaluate(pipeline, load_evaluator(evaluator), data=data, csd=csd, count=count)
    return figures + reading_figures(pipeline, data, count=count)


class _Judge:
    """The evaluator over uint8 pictures, and its gallery of candidates."""

    def __init__(self, network: Evaluator, data: EmojiData) -> None:
        self.network, self.data = network, data
        self.set_names: tuple[str, ...] = tuple(network.config.set_names)
        self._galleries: dict[int, tuple[Tensor, NDArray[np.int64]]] = {}

    def vectors(self, images: Pixels) -> tuple[Tensor, Tensor, Tensor]:
        """Style (N, D), subject (N, D), set logits (N, S)."""
        with torch.no_grad():
            seen = [self.network(to_float(images[at : at + BATCH])) for at in range(0, len(images), BATCH)]
        return (
            torch.cat([each.style for each in seen]),
            torch.cat([each.subject for each in seen]),
            torch.cat([each.sets for each in seen]),
        )

    def subject_in_top5(self, images: Pixels, cases: Cases) -> float:
        """Share of images whose subject is among the 5 nearest of 100 held-out candidates, drawn plainly by
        the case's source set."""
        queries = self.vectors(images)[1]
        hits = 0
        for index, (subject, source) in enumerate(zip(cases.subject.tolist(), cases.source.tolist(), strict=True)):
            gallery, rows = self._gallery(subject, source)
            near = (gallery @ queries[index]).topk(5).indices.tolist()
            hits += any(int(self.data.subject_index[rows[place]]) == subject for place in near)
        return hits / len(images)

    def _gallery(self, subject: int, source: int) -> tuple[Tensor, list[int]]:
        vectors, rows = self._drawn_by(source)
        own = int(np.flatnonzero(self.data.subject_index[rows] == subject)[0])
        others = np.random.default_rng([EVAL_SEED, 2, subject]).permutation(
            [at for at in range(len(rows)) if at != own]
        )
        places = [own, *others[: NUM_CANDIDATES - 1].tolist()]
        return vectors[places], [int(rows[place]) for place in places]

    def _drawn_by(self, source: int) -> tuple[Tensor, NDArray[np.int64]]:
        if source not in self._galleries:
            rows = np.flatnonzero(
                self.data.heldout_subjects[self.data.subject_index] & (self.data.set_index == source)
            )
            self._galleries[source] = (self.vectors(plain_all(self.data, rows))[1], rows)
        return self._galleries[source]


def _stylize_figures(
    pipeline: RestylePipeline, judge: _Judge, cases: Cases, where: str, *, judged: bool
) -> list[Figure]:
    made = run(pipeline, "stylize", cases.image, cases.reference)
    ratio = Figure(
        f"stylize: L1 to the truth over the no-op's{where}",
        _l1(made, cases.truth) / _l1(cases.image, cases.truth),
        noop=1.0,
        truth=0.0,
        bar=0.20 if judged else None,
        at_most=True,
    )
    if not judged:
        return [ratio]
    style, own = judge.vectors(cases.reference)[0], judge.vectors(cases.image)[0]

    def nearer(images: Pixels) -> float:
        vectors = judge.vectors(images)[0]
        return float((_cosine(vectors, style) > _cosine(vectors, own)).float().mean())

    top5 = [judge.subject_in_top5(images, cases) for images in (made, cases.image, cases.truth)]
    return [
        ratio,
        Figure(
            "stylize: nearer to the wanted style than to the input's",
            nearer(made),
            noop=nearer(cases.image),
            truth=nearer(cases.truth),
            chance=0.5,
            bar=0.90,
        ),
        Figure("stylize: subject in the top 5 of 100", top5[0], noop=top5[1], truth=top5[2], chance=0.05, bar=0.80),
    ]


def _destylize_figures(
    pipeline: RestylePipeline, judge: _Judge, cases: Cases, where: str, *, csd: StyleVectors | None, judged: bool
) -> list[Figure]:
    made = run(pipeline, "destylize", cases.truth)
    ratio = Figure(
        f"destylize: L1 to the truth over the no-op's{where}",
        _l1(made, cases.image) / _l1(cases.truth, cases.image),
        noop=1.0,
        truth=0.0,
        bar=0.20 if judged else None,
        at_most=True,
    )
    if not judged:
        return [ratio]
    figures = [ratio, _style_left("evaluator", lambda images: judge.vectors(images)[0], made, cases)]
    if csd is not None:
        figures.append(
            _style_left(
                "CSD", lambda images: torch.from_numpy(csd([Image.fromarray(each) for each in images])), made, cases
            )
        )
    anchor = judge.vectors(_drawn_elsewhere(judge.data, cases))[1]
    kept = [float(_cosine(judge.vectors(images)[1], anchor).mean()) for images in (made, cases.truth, cases.image)]
    figures.append(
        Figure(
            "destylize: subject similarity over the true plain image's",
            kept[0] / kept[2],
            noop=kept[1] / kept[2],
            truth=1.0,
            bar=0.90,
        )
    )
    return figures


def _style_left(name: str, vectors: Callable[[Pixels], Tensor], made: Pixels, cases: Cases) -> Figure:
    """Style similarity of output and input, on the scale where random pairs have 0 and pairs of one style 1."""
    stylized, peers = vectors(cases.truth), vectors(cases.reference)
    same, random = float(_cosine(stylized, peers).mean()), float(_cosine(stylized, peers.roll(1, 0)).mean())

    def scaled(images: Pixels) -> float:
        return (float(_cosine(vectors(images), stylized).mean()) - random) / (same - random)

    return Figure(
        f"destylize: style left by {name} (random pairs 0, one style 1)",
        scaled(made),
        noop=scaled(cases.truth),
        truth=scaled(cases.image),
        chance=0.0,
        bar=0.5,
        at_most=True,
    )


def _between_figures(pipeline: RestylePipeline, judge: _Judge, cases: Cases) -> list[Figure]:
    made = run(pipeline, "stylize", cases.image, cases.reference)
    wanted = torch.tensor([judge.set_names.index(judge.data.set_names[index]) for index in cases.wanted])

    def named(images: Pixels) -> float:
        return float((judge.vectors(images)[2].argmax(1) == wanted).float().mean())

    top5 = [judge.subject_in_top5(images, cases) for images in (made, cases.image, cases.truth)]
    return [
        Figure(
            "set to set: L1 to the truth over the no-op's",
            _l1(made, cases.truth) / _l1(cases.image, cases.truth),
            noop=1.0,
            truth=0.0,
        ),
        Figure(
            "set to set: wanted set named first",
            named(made),
            noop=named(cases.image),
            truth=named(cases.truth),
            chance=1 / len(judge.set_names),
            bar=0.60,
        ),
        Figure(
            "set to set: subject in the top 5 of 100", top5[0], noop=top5[1], truth=top5[2], chance=0.05, bar=0.80
        ),
    ]


def _shifted_figures(pipeline: RestylePipeline, cases: Cases) -> list[Figure]:
    """The shifted layout's truth is the plain image under the same transform."""
    made = run(pipeline, "destylize", cases.truth, shifted=True)
    similarities = [draw_similarity(_generator(index)) for index in range(len(made))]
    truth = transform(to_float(cases.image), similarities, torch.ones(len(made), 3))
    moved = ((truth + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()
    return [
        Figure(
            "destylize, shifted: L1 to the moved truth over that of the unmoved truth",
            _l1(made, moved) / _l1(cases.image, moved),
            noop=_l1(cases.truth, moved) / _l1(cases.image, moved),
            truth=0.0,
        )
    ]


def run(
    pipeline: RestylePipeline, task: Task, images: Pixels, references: Pixels | None = None, *, shifted: bool = False
) -> Pixels:
    """The expert over many pictures, uint8 (N, 64, 64, 3) in and out, in blocks of `BATCH`."""
    made: list[Pixels] = []
    for at in range(0, len(images), BATCH):
        part = [Image.fromarray(each) for each in images[at : at + BATCH]]
        styles = None if references is None else [Image.fromarray(each) for each in references[at : at + BATCH]]
        generators = [_generator(at + offset) for offset in range(len(part))]
        drawn = pipeline(
            part, styles, task=task, layout="shifted" if shifted else "preserved", generator=generators
        ).images
        made += [np.asarray(picture) for picture in drawn]
    return np.stack(made)


def _generator(index: int) -> torch.Generator:
    return torch.Generator().manual_seed(EVAL_SEED * 100_000 + index)


def _drawn_elsewhere(data: EmojiData, cases: Cases) -> Pixels:
    """Each case's subject, plain, by another set than the case's: what subject similarity is measured to."""
    rows = []
    for subject, source in zip(cases.subject.tolist(), cases.source.tolist(), strict=True):
        others = [row for index, row in enumerate(data.rows[subject].tolist()) if row >= 0 and index != source]
        rows.append(others[0])
    return plain_all(data, np.array(rows))


def _cosine(first: Tensor, second: Tensor) -> Tensor:
    return F.cosine_similarity(first, second, dim=1)


def _l1(first: Pixels, second: Pixels) -> float:
    """Mean absolute difference in [0, 2], the scale of images in [-1, 1]."""
    return float(np.abs(first.astype(np.float32) - second.astype(np.float32)).mean() / 127.5)
