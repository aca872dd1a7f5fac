"""The transformers judge on toy models of the classes that full-size judges have: two images, three rubrics."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from curate.interfaces import TripletImages
from filters.rubric import read_rubric
from filters.vlm import VlmScorer
from tests.toy_judges import JUDGES, save_judge


def picture(seed: int) -> Image.Image:
    """Large forms: what a processor does to 48 px must not even them out."""
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 255, (4, 4, 3), dtype=np.uint8)).resize((48, 48), Image.Resampling.NEAREST)


def unit(*seeds: int) -> TripletImages:
    return TripletImages(*(picture(seed) for seed in seeds), "", "", "shifted")


@pytest.fixture(scope="module", params=sorted(JUDGES))
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_judge(request.param, tmp_path_factory.mktemp(request.param))


def test_every_class_rates_by_its_own_template_and_both_images_count(folder: Path) -> None:
    config = VlmScorer(model=str(folder), min_mass=0.0)
    score = config.load("cpu")
    columns = score([unit(1, 2, 3), unit(9, 2, 3), unit(1, 2, 9)])
    assert tuple(columns) == config.columns
    values = np.stack(list(columns.values()))
    assert np.isfinite(values).all() and (values >= 0).all() and (values <= 4).all()
    subject = columns["vlm.subject.content_stylized"]
    assert abs(subject[0] - subject[1]) > 1e-4 and abs(subject[0] - subject[2]) > 1e-4
    assert columns["vlm.style.style_stylized"][0] == columns["vlm.style.style_stylized"][1]

    processor = AutoProcessor.from_pretrained(folder)
    network = AutoModelForImageTextToText.from_pretrained(folder).eval()
    ask = config.rubric.questions[0].ask  # type: ignore[union-attr]
    talk = [{"role": "user", "content": [{"type": "image", "image": picture(1)}, {"type": "image", "image": picture(3)},
                                         {"type": "text", "text": ask}]}]
    inputs = processor.apply_chat_template(talk, add_generation_prompt=True, tokenize=True, return_dict=True,
                                           return_tensors="pt")
    with torch.no_grad():
        logits = network(**inputs).logits[0, -1]
    chances = logits[[processor.tokenizer.convert_tokens_to_ids(r) for r in "01234"]].softmax(dim=0)
    assert subject[0] == pytest.approx(float(chances @ torch.arange(5.0)), abs=1e-3)


def test_every_class_votes(folder: Path) -> None:
    config = VlmScorer(model=str(folder), min_mass=0.0, rubric=read_rubric("votes"))
    columns = config.load("cpu")([unit(1, 2, 3)])
    assert tuple(columns) == config.columns
    for name in ("same_subject", "same_style"):
        assert 0 <= columns[f"vlm.{name}.yes"][0] <= 1 and columns[f"vlm.{name}.votes"][0] in (0, 1, 2, 3)


def test_every_class_talks_in_rounds_and_what_it_said_is_kept(folder: Path) -> None:
    config = VlmScorer(model=str(folder), rubric=read_rubric("uno_parts"), max_new_tokens=6, attempts=2)
    columns = config.load("cpu")([unit(1, 2, 3)])
    assert np.isnan(columns["vlm.parts.mean"]).all() and np.isnan(columns["vlm.parts.min"]).all()
    reason, said = columns["error"][0].split("\n", 1)
    assert reason.startswith("vlm.parts.mean: no usable answer in 2 attempts: ")
    assert said.startswith("the judge said: ")
