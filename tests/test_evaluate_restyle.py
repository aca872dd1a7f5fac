"""The restyle evaluation: doing nothing scores as nothing, the truth as the truth, and the table says so."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from curate.zoo.evaluate_restyle import evaluate
from curate.zoo.evaluator import build, load_evaluator, set_accuracy
from curate.zoo.evaluator_network import Evaluator
from curate.zoo.figures import Figure, as_dict, format_figures
from curate.zoo.restyle_cases import Cases, between_cases, parametric_cases
from pipelines.training import Plan
from tests.toy_emoji import toy_emoji

DATA = toy_emoji()
COUNT = 12


@pytest.fixture(scope="module")
def judge() -> Evaluator:
    torch.manual_seed(0)
    return Evaluator(set_names=DATA.set_names, channels=(8, 8, 8, 8), embed_dim=16).eval()


class Memory:
    """An expert that knows some answers by heart, and gives back its input otherwise."""

    def __init__(self, answers: dict[bytes, Image.Image]) -> None:
        self.answers = answers

    def __call__(self, image: Sequence[Image.Image], style_image: Any = None, *, task: str, **_: Any) -> Any:
        styles = style_image or [None] * len(image)
        keys = [task.encode() + a.tobytes() + (b.tobytes() if b else b"") for a, b in zip(image, styles, strict=True)]
        return SimpleNamespace(images=[self.answers.get(k, a) for k, a in zip(keys, image, strict=True)])


def learned(cases: Cases) -> dict[bytes, Image.Image]:
    answers = {}
    for image, reference, truth in zip(cases.image, cases.reference, cases.truth, strict=True):
        answers[b"stylize" + image.tobytes() + reference.tobytes()] = Image.fromarray(truth)
        answers[b"destylize" + truth.tobytes()] = Image.fromarray(image)
    return answers


def by_name(expert: Memory, judge: Evaluator) -> dict[str, Figure]:
    return {figure.name: figure for figure in evaluate(expert, judge, data=DATA, count=COUNT)}  # type: ignore[arg-type]


def test_doing_nothing_gets_the_figures_of_the_no_op(judge: Evaluator) -> None:
    figures = by_name(Memory({}), judge)
    assert len(figures) >= 10
    for figure in figures.values():
        assert figure.noop is None or figure.value == pytest.approx(figure.noop)
    for task in ("stylize", "destylize"):
        ratio = figures[f"{task}: L1 to the truth over the no-op's"]
        assert ratio.value == pytest.approx(1.0)
        assert ratio.met is False
    assert figures["stylize: nearer to the wanted style than to the input's"].value == 0.0


def test_the_truth_gets_the_figures_of_the_truth(judge: Evaluator) -> None:
    seen = [
        DATA.set_names.index(name)
        for name in ("noto", "noto-v1", "twemoji", "openmoji", "fluent-emoji-flat", "emojione")
    ]
    unseen = [DATA.set_names.index(name) for name in ("fxemoji", "emojione-v1")]
    answers = learned(parametric_cases(DATA, seen, count=COUNT)) | learned(
        parametric_cases(DATA, unseen, count=COUNT // 2)
    )
    answers |= learned(between_cases(DATA, count=COUNT))
    figures = by_name(Memory(answers), judge)
    for name, figure in figures.items():
        if "shifted" not in name:
            assert figure.value == pytest.approx(figure.truth, abs=1e-6), name


def test_cases_show_held_out_subjects_and_are_the_same_every_time() -> None:
    first, second = (parametric_cases(DATA, [0, 2], count=COUNT) for _ in range(2))
    np.testing.assert_array_equal(first.truth, second.truth)
    assert DATA.heldout_subjects[first.subject].all()
    assert set(first.source.tolist()) <= {0, 2}
    pairs = between_cases(DATA, count=COUNT)
    assert DATA.heldout_subjects[pairs.subject].all()
    assert (pairs.source != pairs.wanted).all()


def test_csd_is_measured_where_it_is_given(judge: Evaluator) -> None:
    def mean_colour(images: Sequence[Image.Image]) -> Any:
        colours = np.stack([np.asarray(image, dtype=np.float32).mean((0, 1)) - 127 for image in images])
        return colours / np.linalg.norm(colours, axis=1, keepdims=True)

    figures = evaluate(Memory({}), judge, data=DATA, csd=mean_colour, count=COUNT)  # type: ignore[arg-type]
    [figure] = [figure for figure in figures if "by CSD" in figure.name]
    assert figure.value == figure.noop


def test_a_figure_knows_whether_its_bar_is_met() -> None:
    low, high = Figure("a", 0.3, bar=0.2, at_most=True), Figure("b", 0.3, bar=0.2)
    assert (low.met, high.met, Figure("c", 0.3).met) == (False, True, None)
    table = format_figures([low, high, Figure("c", 0.25, chance=0.5)])
    assert "| a | 0.300 |  |  |  | <= 0.2 | MISSED |" in table
    assert "| b | 0.300 |  |  |  | >= 0.2 | met |" in table
    assert "| c | 0.250 |  |  | 0.500 |  |  |" in table
    assert as_dict([low])["a"]["met"] is False


def test_building_an_evaluator_ships_weights_and_a_card(tmp_path: Path) -> None:
    plan = Plan(steps=2, peak_lr=1e-3, warmup=1, log_every=1, save_every=2, bf16=False)
    assert build(tmp_path / "out", tmp_path / "work", plan=plan, data=DATA).finished
    network = load_evaluator(tmp_path / "out")
    assert len(network.config.set_names) == 9
    assert 0 <= set_accuracy(network, DATA) <= 1
    assert "2 of 2" in (tmp_path / "out" / "README.md").read_text()
