"""Copy-paste and colour-only: the scorers' own arithmetic, over items that bring what it needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from curate.bench.items import Floats
from curate.bench.metrics import Sample
from curate.interfaces import Score, TripletImages
from filters.colour import ColourScorer
from filters.copy_paste import CopyPasteScorer


def measure_copy_paste(samples: Sequence[Sample]) -> Mapping[str, Floats]:
    """``copy_paste`` (N,), NaN where an item has no content image or a picture has no edges."""
    usable = [sample.item.content is not None for sample in samples]
    return {"copy_paste": _score(CopyPasteScorer().load("cpu"), "copy_paste.alignment", samples, usable)}


def measure_colour(samples: Sequence[Sample]) -> Mapping[str, Floats]:
    """``colour_only`` (N,), NaN where an item has not both images."""
    usable = [sample.item.content is not None and sample.item.style is not None for sample in samples]
    return {"colour_only": _score(ColourScorer().load("cpu"), "colour.only", samples, usable)}


def _score(score: Score, column: str, samples: Sequence[Sample], usable: Sequence[bool]) -> Floats:
    found = np.full(len(samples), np.nan, dtype=np.float32)
    for at, sample in enumerate(samples):
        if usable[at]:
            found[at] = score([_triplet(sample)])[column][0]
    return found


def _triplet(sample: Sample) -> TripletImages:
    """The sample as scorers see it; copy-paste does not look at the style, so its place may hold any picture."""
    output = sample.output.open()
    content = sample.item.content.open() if sample.item.content else output
    style = sample.item.style.open() if sample.item.style else output
    return TripletImages(content, style, output, sample.item.prompt, "", "shifted")
