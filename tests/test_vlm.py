"""The judge: expected ratings from a real FastVLM of toy size with random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import curate.zoo.vlm as zoo_vlm
from curate.errors import ModelError
from curate.interfaces import TripletImages
from curate.zoo.judge_tower import JudgeTower, TowerArch
from filters.answers import RATINGS
from filters.judging import RubricScore, Talk
from filters.vlm import VlmScorer
from filters.vlm_local import LocalJudge, chat_prompt, choice_chances, choice_token_ids

SHOWN = {"vlm.subject.content_stylized": "content", "vlm.style.style_stylized": "style",
         "vlm.style.content_stylized": "content", "vlm.subject.style_stylized": "style"}
ARCH = TowerArch(channels=(16, 16, 32, 32))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    processor = zoo_vlm.make_processor(ARCH)
    model = zoo_vlm.make_model(JudgeTower(ARCH), processor)
    with torch.no_grad():  # an untrained tower's patches are small: let the language model see them
        model.model.multi_modal_projector.linear_2.weight.mul_(1000)
    path = tmp_path_factory.mktemp("vlm")
    zoo_vlm.save_judge(model, processor, path)
    return path


@pytest.fixture(scope="module")
def score(folder: Path) -> RubricScore:
    loaded = VlmScorer(model=str(folder), min_mass=0.0).load("cpu")
    assert isinstance(loaded, RubricScore)
    return loaded


@pytest.fixture(scope="module")
def judge(score: RubricScore) -> LocalJudge:
    assert isinstance(score.judge, LocalJudge)
    return score.judge


def picture(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (64, 64, 3), dtype=np.uint8))


def unit(*seeds: int) -> TripletImages:
    return TripletImages(*(picture(seed) for seed in seeds), "", "", "shifted")


def test_chances_are_the_softmax_over_the_tokens_of_the_choices() -> None:
    logits = torch.full((3, 12), -50.0)
    ids = [[7], [3, 8], [9], [1], [4]]  # of "0".."4", in that order; "1" has two spellings
    logits[0, 4] = 50.0  # certainly "4"
    logits[1, [7, 3, 8]] = 2.0  # "0" and both spellings of "1", evenly
    logits[2, 9], logits[2, 5] = 1.0, 4.0  # "2" among the ratings, but a word outranks it
    chances, mass = choice_chances(logits, ids)
    assert (chances @ torch.arange(5.0)).tolist() == pytest.approx([4.0, 2 / 3, 2.0], abs=1e-5)
    assert mass.tolist() == pytest.approx([1.0, 1.0, 1 / (1 + np.exp(3))], abs=1e-5)


def test_columns_lie_in_the_range_of_the_ratings(score: RubricScore) -> None:
    columns = score([unit(1, 2, 3), unit(4, 5, 6)])
    assert tuple(columns) == VlmScorer().columns == tuple(SHOWN)
    values = np.stack(list(columns.values()))
    assert values.shape == (4, 2) and values.dtype == np.float32
    assert (values >= 0).all() and (values <= 4).all()


def test_the_images_matter_and_each_column_sees_its_own_pair(score: RubricScore) -> None:
    base = score([unit(1, 2, 3)])
    other_content, other_style, other_stylized = (
        score([unit(9, 2, 3)]),
        score([unit(1, 9, 3)]),
        score([unit(1, 2, 9)]),
    )
    for column, role in SHOWN.items():
        changed, kept = (other_content, other_style) if role == "content" else (other_style, other_content)
        assert abs(changed[column][0] - base[column][0]) > 1e-4, column
        assert kept[column][0] == base[column][0], column
        assert abs(other_stylized[column][0] - base[column][0]) > 1e-4, column


def test_the_order_of_the_two_images_matters(score: RubricScore) -> None:
    there, back = score([unit(1, 2, 3)]), score([unit(3, 2, 1)])
    assert abs(there["vlm.subject.content_stylized"][0] - back["vlm.subject.content_stylized"][0]) > 1e-4


def test_batch_mates_do_not_change_a_score(score: RubricScore) -> None:
    alone, among = score([unit(1, 2, 3)]), score([unit(7, 8, 9), unit(1, 2, 3), unit(4, 5, 6)])
    for column in SHOWN:
        assert alone[column][0] == among[column][1]


def test_a_repeated_unit_is_judged_once_and_its_numbers_stand_in_every_slot(folder: Path) -> None:
    loaded = VlmScorer(model=str(folder), min_mass=0.0).load("cpu")
    asked: list[int] = []
    inner = loaded.judge.answer_logits  # type: ignore[attr-defined]
    loaded.judge.answer_logits = lambda talks: asked.append(len(talks)) or inner(talks)  # type: ignore[attr-defined]
    one, other = unit(1, 2, 3), unit(4, 5, 6)
    columns = loaded([one, one, other, one])
    assert asked == [4, 4]
    for values in columns.values():
        assert values[0] == values[1] == values[3] != values[2]


def test_padding_does_not_change_an_answer(score: RubricScore, judge: LocalJudge) -> None:
    ask = score.rubric.questions[1].ask  # type: ignore[union-attr]
    talk = Talk((picture(1), picture(2)), (ask,))
    longer = Talk(talk.images, (ask.replace("Answer", "Answer, and think of it for a while, Answer"),))
    alone, padded = judge.answer_logits([talk]), judge.answer_logits([talk, longer])
    assert torch.allclose(alone[0], padded[0], atol=1e-4)
    assert not torch.allclose(padded[0], padded[1], atol=1e-2)


def test_a_judge_that_does_not_answer_with_a_rating_gives_nan_and_what_it_said(folder: Path) -> None:
    columns = VlmScorer(model=str(folder), min_mass=1.0, attempts=2).load("cpu")([unit(1, 2, 3), unit(4, 5, 6)])
    assert all(np.isnan(columns[column]).all() for column in SHOWN)
    reason, said, *_ = columns["error"][1].split("\n")
    assert reason.startswith("vlm.subject.content_stylized: no usable answer in 2 attempts: 0, 1, 2, 3, 4 have 0.")
    assert said.startswith("the judge said: ") and len(columns["error"]) == 2


def test_ratings_must_be_single_tokens(judge: LocalJudge) -> None:
    class Splitting:
        def __call__(self, text: str) -> object:
            return type("Encoded", (), {"input_ids": [ord(c) for c in text.replace("3", "3.")]})

    prompt = "<answer>"
    ids = choice_token_ids(judge.processor.tokenizer, prompt, RATINGS)
    assert [judge.processor.tokenizer.decode(each) for each in ids] == list(RATINGS)
    with pytest.raises(ModelError, match="'3' is not one token"):
        choice_token_ids(Splitting(), "rate: ", RATINGS)


def test_training_computes_the_logits_of_the_whole_model(judge: LocalJudge) -> None:
    """Training feeds cached patches; that must be the same function as scoring images."""
    one, two = picture(1), picture(2)
    patches = zoo_vlm.patches_of(judge.network, np.stack([np.asarray(one), np.asarray(two)]), bf16=False)
    prompt = chat_prompt(judge.processor, [zoo_vlm.SUBJECT_QUESTION], images=2)
    text = prompt.replace(zoo_vlm.IMAGE, zoo_vlm.IMAGE * patches.shape[1])
    encoded = judge.processor.tokenizer([text], return_tensors="pt")
    batch = zoo_vlm.Questions(patches, encoded.input_ids, encoded.attention_mask, torch.zeros(1))
    with torch.no_grad():
        trained = zoo_vlm.answer_logits(judge.network, batch)
    talk = Talk((one, two), (zoo_vlm.SUBJECT_QUESTION,))
    assert torch.allclose(trained, judge.answer_logits([talk]), atol=1e-4)


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="vlm"):
        VlmScorer(model=str(tmp_path)).load("cpu")
