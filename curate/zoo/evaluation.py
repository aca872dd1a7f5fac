"""`curate zoo eval`: every figure of the zoo against its bar, with chance and a no-op beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from curate.models import ZOO
from curate.zoo.card import replace_section
from curate.zoo.data import load_emoji
from curate.zoo.evaluate_restyle import format_figures, load_and_evaluate
from curate.zoo.evaluate_scorers import evaluate as evaluate_scorers
from curate.zoo.evaluate_scorers import show

BARS: Final[Mapping[str, Mapping[str, float]]] = {
    "csd": {
        "same set, training sets": 0.95,
        "same set, held-out sets against all": 0.80,
        "same parametric style, unseen parameters": 0.95,
    },
    "clip": {"same subject, training sets": 0.97, "same subject, all sets": 0.97},
    "vlm": {
        "same subject, plain sets": 0.80,
        "same subject, parametric styles": 0.80,
        "same style, plain sets": 0.80,
        "same style, parametric styles": 0.80,
    },
}
"""AUC over pairs of held-out subjects; chance is 0.5, the no-op is what no network reaches (colours, raw pixels)."""


def evaluate(names: Sequence[str], *, write: bool) -> bool:
    """Print the figures of the named models; whether all bars are met. ``write`` puts them into the model cards."""
    data = load_emoji()
    met = True
    for name in names:
        if name == "restyle":
            figures = load_and_evaluate(ZOO / "restyle", ZOO / "evaluator", data=data, csd=csd_vectors())
            text, good = format_figures(figures), all(figure.met is not False for figure in figures)
        else:
            result = evaluate_scorers([name], data=data)
            missed = [measure for measure, bar in BARS[name].items() if result["bars"][name][measure] < bar]
            text, good = f"{show(result)}\n\n{_verdict(name, missed)}", not missed
        print(f"\n## {name}\n\n{text}", flush=True)
        if write:
            replace_section(ZOO / name, "Evaluation", f"By `curate zoo eval {name}`, on held-out subjects.\n\n{text}")
        met = met and good
    return met


def _verdict(name: str, missed: Sequence[str]) -> str:
    bars = ", ".join(f"{measure} >= {bar:.2f}" for measure, bar in BARS[name].items())
    return f"Bars (AUC; chance 0.5): {bars}. " + (f"MISSED: {', '.join(missed)}." if missed else "All met.")


def csd_vectors() -> Callable[[Sequence[Image.Image]], NDArray[np.float32]]:
    """Unit style vectors (N, D) of pictures by the zoo's CSD."""
    from filters.csd import CsdScorer

    score: Any = CsdScorer(model="zoo:csd").load("cpu")

    def vectors(images: Sequence[Image.Image]) -> NDArray[np.float32]:
        with torch.inference_mode():
            pixels = torch.stack([score.preprocess(image) for image in images])
            found: NDArray[np.float32] = score.network(pixels).style.float().numpy()
        return found

    return vectors
