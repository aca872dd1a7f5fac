"""True accuracy on emoji-bench: the zoo's evaluator, trained apart from every scorer, and distance to the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from PIL.Image import Image

from curate.bench.features import Features
from curate.bench.items import Floats, Truth, unit_floats
from curate.bench.metrics import Sample
from curate.errors import ModelError
from curate.images import fit, to_unit_range
from curate.models import resolve_model
from curate.zoo.data import IMAGE_PX
from curate.zoo.evaluator_network import Evaluator

if TYPE_CHECKING:
    from curate.bench.items import Picture
    from curate.bench.metrics import TruthMetric

NUM_REMEMBERED: Final = 8192  # every plain drawing of held-out subjects and every style image; 2 KB each


class TruthMeasure:
    """Callable on samples; holds the evaluator."""

    def __init__(self, config: TruthMetric, device: str) -> None:
        try:
            self.network = Evaluator.from_pretrained(resolve_model(config.model), revision=config.revision,
                                                     dtype=torch.float32)
        except (OSError, ValueError) as error:
            raise ModelError(f"{config.model}: not the zoo's evaluator: {error}") from error
        self.network.eval().requires_grad_(False).to(device)
        self.device = torch.device(device)
        self.set_names: list[str] = list(self.network.config.set_names)
        self.dim = int(self.network.config.embed_dim)
        self.judge = Features(self._embed, batch=config.batch, remembered=NUM_REMEMBERED)

    def __call__(self, samples: Sequence[Sample]) -> Mapping[str, Floats]:
        """Columns of ``TruthMetric``, (N,) each; NaN where the truth of an item does not say."""
        rows = [self._judge(sample, vector) for sample, vector in
                zip(samples, self.judge.of_outputs(samples), strict=True)]
        names = ("subject_top1", "style_nearer", "set_top1", "l1")
        return {name: np.array([row.get(name, np.nan) for row in rows], dtype=np.float32) for name in names}

    def _judge(self, sample: Sample, vector: Floats) -> dict[str, float]:
        truth, style = sample.item.truth, sample.item.style
        if truth is None:
            return {}
        found = {"subject_top1": self._names_subject(vector, truth)}
        if style is not None:
            found["style_nearer"] = self._nearer(vector, style, truth.plain)
        if truth.set_name in self.set_names:
            logits = vector[2 * self.dim :]
            found["set_top1"] = float(int(logits.argmax()) == self.set_names.index(truth.set_name))
        if truth.target is not None:
            found["l1"] = distance(sample.output.open(), truth.target.open())
        return found

    def _names_subject(self, vector: Floats, truth: Truth) -> float:
        gallery = np.stack([self._subject(self.judge.of_reference(picture)) for picture in truth.candidates])
        return float(int((gallery @ self._subject(vector)).argmax()) == truth.subject_at)

    def _nearer(self, vector: Floats, wanted: Picture, plain: Picture) -> float:
        cosines = [float(vector[: self.dim] @ self.judge.of_reference(picture)[: self.dim])
                   for picture in (wanted, plain)]
        return float(cosines[0] > cosines[1])

    def _subject(self, vector: Floats) -> Floats:
        return vector[self.dim : 2 * self.dim]

    @torch.inference_mode()
    def _embed(self, images: Sequence[Image]) -> Floats:
        """(N, style + subject + sets): what the evaluator says, side by side."""
        pixels = torch.from_numpy(to_unit_range([fit(image, IMAGE_PX) for image in images])).to(self.device)
        seen = self.network(pixels)
        together: Floats = torch.cat([seen.style, seen.subject, seen.sets], dim=1).cpu().numpy()
        return together


def distance(image: Image, answer: Image) -> float:
    """L1, mean over pixels and channels, in [0, 1]."""
    return float(np.abs(unit_floats(image, answer.size) - unit_floats(answer, answer.size)).mean())
