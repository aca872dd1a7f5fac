"""How the compact scorers are built (labels, losses, questions, figures), and what they can do."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from sklearn.metrics import roc_auc_score

from curate.interfaces import TripletImages
from curate.models import ZOO
from curate.parametric import apply_style, plain, sample_style
from curate.zoo import clip as zoo_clip
from curate.zoo import csd as zoo_csd
from curate.zoo import csd_palette, csd_weighing
from curate.zoo import vlm as zoo_vlm
from curate.zoo.contrast import image_text_loss, multi_positive_nce
from curate.zoo.data import EmojiData
from curate.zoo.factorial import RECOLOURED, Mix, draw_batch, draw_subject_batch, training_sets
from curate.zoo.judge_pairs import AKIN, OTHER, SAME, draw_grid, draw_pairs
from curate.zoo.judge_tower import TowerArch
from curate.zoo.pair_auc import auc, best_bound, pair_auc
from curate.zoo.triplet_truth import FAULTS, draw_truth
from filters import scorer_class

SETS = ("noto", "twemoji", "openmoji", "fxemoji")
SUBJECTS = tuple(
    f"{size} {shape}" for size in ("big", "tall", "wide", "odd", "old") for shape in ("disc", "box", "tent")
)


def drawn(subject: int, which: int) -> np.ndarray:
    """A shape whose size and hue are the subject's and whose outline and gloss are the set's."""
    image = Image.new("RGBA", (64, 64))
    pen = ImageDraw.Draw(image)
    hue = [(200, 60, 40), (40, 120, 200), (60, 160, 60), (220, 170, 40), (140, 70, 160)][subject // 3]
    w, h = [(24, 24), (14, 28), (28, 12), (18, 22), (26, 18)][subject // 3]
    line = {0: None, 1: None, 2: (0, 0, 0), 3: (90, 60, 30)}[which]
    box = (32 - w, 32 - h, 32 + w, 32 + h)
    if subject % 3 == 0:
        pen.ellipse(box, fill=hue, outline=line, width=3)
    elif subject % 3 == 1:
        pen.rectangle(box, fill=hue, outline=line, width=3)
    else:
        pen.polygon([(32, 32 - h), (32 + w, 32 + h), (32 - w, 32 + h)], fill=hue, outline=line, width=3)
    if which == 0:
        pen.ellipse((26, 26, 36, 34), fill=(255, 255, 255))
    return np.asarray(image)


@pytest.fixture(scope="module")
def data() -> EmojiData:
    cells = [(subject, which) for subject in range(len(SUBJECTS)) for which in range(len(SETS))]
    return EmojiData(
        images=np.stack([drawn(*cell) for cell in cells]),
        set_index=np.array([which for _, which in cells]),
        subject_index=np.array([subject for subject, _ in cells]),
        set_names=SETS,
        subjects=SUBJECTS,
        licences=("Apache-2.0",) * len(SETS),
    )


def everyone(data: EmojiData) -> np.ndarray:
    return np.arange(len(data.subjects))


def test_a_recoloured_set_has_the_same_colours_all_through_a_batch(data: EmojiData) -> None:
    mix = Mix(plain=1, per_plain=1, painted=1, per_painted=1, recoloured=3, per_recoloured=4)
    one, other = (
        draw_batch(data, np.random.default_rng(3), subjects=everyone(data)[:3], sets=[1], mix=mix, augment=False)
        for _ in range(2)
    )
    assert np.array_equal(one.images, other.images)
    of_styles = [np.flatnonzero(one.style == style) for style in set(one.style.tolist()) if style > 1]
    assert len(of_styles) == 3 and all(one.family[rows[0]] == RECOLOURED for rows in of_styles)
    # subjects 0 to 2 have one hue, so a style is one colour and paper
    colours = [{tuple(one.images[row][32, 32]) for row in rows} for rows in of_styles]
    assert all(len(each) == 1 for each in colours) and len(set.union(*colours)) == 3


def test_batches_are_a_function_of_the_generator_and_hold_only_what_was_asked_for(data: EmojiData) -> None:
    sets, some, mix = (
        training_sets(data),
        everyone(data)[:9],
        Mix(plain=3, per_plain=4, painted=5, per_painted=3),
    )
    one, two = (
        draw_batch(data, np.random.default_rng([3, 7]), subjects=some, sets=sets, mix=mix) for _ in range(2)
    )
    assert np.array_equal(one.images, two.images)
    assert one.images.shape == (mix.size, 64, 64, 3) and one.images.dtype == np.uint8
    assert set(one.subject) <= set(some) and "fxemoji" not in {data.set_names[i] for i in one.source}
    assert np.bincount(one.style).tolist() == [4] * 3 + [3] * 5
    for style in range(8):  # a style is told from its subjects: no subject stands in it twice
        members = one.subject[one.style == style]
        assert len(set(members.tolist())) == len(members)


def test_equal_style_numbers_are_equal_styles(data: EmojiData) -> None:
    batch = draw_batch(
        data,
        np.random.default_rng(0),
        subjects=everyone(data),
        sets=[0, 1, 2],
        augment=False,
        mix=Mix(plain=3, per_plain=4, painted=0),
    )
    for number in range(3):
        assert len(set(batch.source[batch.style == number].tolist())) == 1
    assert np.array_equal(batch.images[0], plain(data.images[data.rows[batch.subject[0], batch.source[0]]]))


def test_subject_batches_show_each_subject_by_different_sets(data: EmojiData) -> None:
    batch = draw_subject_batch(
        data,
        np.random.default_rng(1),
        subjects=everyone(data),
        sets=[0, 1, 2],
        count=6,
        per_subject=3,
        styles=2,
        painted_chance=0.5,
    )
    for subject in set(batch.subject.tolist()):
        assert sorted(batch.source[batch.subject == subject].tolist()) == [0, 1, 2]
    plain_ones = batch.style < 0
    assert np.array_equal(-1 - batch.style[plain_ones], batch.source[plain_ones])
    assert plain_ones.any() and not plain_ones.all()


def test_multi_positive_nce_is_the_sum_of_its_definition() -> None:
    torch.manual_seed(0)
    vectors = torch.nn.functional.normalize(torch.randn(7, 5), dim=1)
    labels, t = torch.tensor([0, 0, 1, 1, 1, 2, 0]), 0.3
    terms = []
    for i in range(7):
        others = [a for a in range(7) if a != i]
        below = sum(torch.exp(vectors[i] @ vectors[a] / t) for a in others)
        positives = [p for p in others if labels[p] == labels[i]]
        if positives:  # label 2 stands alone and is no anchor
            terms.append(
                -sum(torch.log(torch.exp(vectors[i] @ vectors[p] / t) / below) for p in positives)
                / len(positives)
            )
    assert torch.allclose(
        multi_positive_nce(vectors, labels, temperature=t), torch.stack(terms).mean(), atol=1e-5
    )


def test_multi_positive_nce_keeps_its_precision_under_autocast() -> None:
    vectors = torch.nn.functional.normalize(torch.ones(4, 16) + 0.01 * torch.randn(4, 16), dim=1)
    labels = torch.tensor([0, 0, 1, 1])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = multi_positive_nce(vectors, labels, temperature=0.01)
    assert torch.allclose(rounded, multi_positive_nce(vectors, labels, temperature=0.01), atol=1e-5)


def test_image_text_loss_is_low_for_the_right_names_and_counts_shared_names_once() -> None:
    texts = torch.eye(3, 8)
    subjects = torch.tensor([0, 0, 1, 2])
    right = image_text_loss(texts[subjects], texts, subjects, torch.tensor(20.0))
    wrong = image_text_loss(texts[subjects.flip(0)], texts, subjects, torch.tensor(20.0))
    assert right < 0.4 < 3 < wrong
    assert right == pytest.approx(
        np.log(2) / 3 / 2, abs=1e-3
    )  # one name in three has two images: log 2 is its floor


def test_ratings_are_true_and_the_other_property_gives_nothing_away(data: EmojiData) -> None:
    rng = np.random.default_rng(5)
    grid = draw_grid(data, rng, subjects=everyone(data), num_subjects=15, num_painted=30, sets=[0, 1, 2])
    pairs = draw_pairs(grid, rng, count=4000)
    (s1, t1), (s2, t2) = (divmod(rows, grid.num_styles) for rows in (pairs.first, pairs.second))
    kinds, families = np.array(grid.subject_kind), np.array(grid.style_family)
    for asks, one, two, labels, x, y in ((False, s1, s2, kinds, t1, t2), (True, t1, t2, families, s1, s2)):
        asked = pairs.asks_style == asks
        same, akin = one == two, labels[one] == labels[two]
        truth = np.where(same, SAME, np.where(akin, AKIN, OTHER))
        assert np.array_equal(pairs.rating[asked], truth[asked])
        assert set(pairs.rating[asked]) == {SAME, AKIN, OTHER}
        assert (x != y)[asked & same].all()  # same subject: never the same image
        assert 0.4 < (x == y)[asked & ~same].mean() < 0.6
    assert 0.45 < pairs.asks_style.mean() < 0.55 and 0.45 < (pairs.rating == SAME).mean() < 0.55


def test_auc_agrees_with_scikit_learn_with_ties_and_leaves_out_nan() -> None:
    rng = np.random.default_rng(0)
    high, low = rng.integers(0, 8, 60).astype(float), rng.integers(-3, 6, 90).astype(float)
    wanted = roc_auc_score([1] * 60 + [0] * 90, np.concatenate([high, low]))
    assert auc(high, low) == pytest.approx(wanted)
    assert auc(np.append(high, np.nan), low) == pytest.approx(wanted)


def test_pair_auc_counts_only_the_pairs_it_is_told_to() -> None:
    vectors = np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
    similarity, label = vectors @ vectors.T, np.array([0, 0, 1, 1])
    same = label[:, None] == label[None, :]
    assert pair_auc(similarity, same, np.ones((4, 4), bool)) == 1.0
    assert pair_auc(similarity, ~same, np.ones((4, 4), bool)) == 0.0
    assert np.isnan(pair_auc(similarity, same, np.zeros((4, 4), bool)))


def test_best_bound_separates_what_can_be_separated() -> None:
    assert 3 < best_bound(np.array([4.0, 5.0, 6.0]), np.array([1.0, 2.0, 3.0])) <= 4


def test_faults_spoil_one_image_and_leave_the_others(data: EmojiData) -> None:
    masked = replace(data)
    object.__setattr__(masked, "heldout_subjects", np.arange(len(data.subjects)) < 8)
    units = draw_truth(masked, count=6, seed=1).units
    assert tuple(units) == FAULTS
    expected = {
        "other_style": {"stylized"},
        "residue": {"content"},
        "other_subject": {"content"},
        "leak": {"style"},
        "copy_paste": {"stylized"},
        "other_caption": {"caption"},
    }
    for fault, fields in expected.items():
        for true, spoilt in zip(units["none"], units[fault], strict=True):
            changed = {
                field for field in TripletImages._fields if getattr(true, field) != getattr(spoilt, field)
            }
            assert changed <= fields
    assert all(unit.caption in SUBJECTS[:8] for unit in units["none"])


def test_csd_build_resumes_to_the_same_weights(
    data: EmojiData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zoo_csd, "ARCH", replace_arch())
    monkeypatch.setattr(zoo_csd, "MIX", Mix(plain=3, per_plain=2, painted=2, per_painted=2, pool=6))
    monkeypatch.setattr(csd_palette, "MIX", Mix(plain=3, per_plain=2, painted=0, recoloured=2, pool=6))
    monkeypatch.setattr(csd_weighing, "MIX", Mix(plain=3, per_plain=2, painted=2, per_painted=2, pool=6))
    plan = replace(zoo_csd.PLAN, steps=4, warmup=1, save_every=2, log_every=1, cooldown=1e-9)
    plans = {"plan": plan, "palette_plan": plan, "weighing_plan": plan}
    halves = {name: replace(each, steps=2) for name, each in plans.items()}
    zoo_csd.build(tmp_path / "whole", tmp_path / "w1", data=data, card=False, **plans)
    zoo_csd.build(tmp_path / "parts", tmp_path / "w2", data=data, card=False, **halves)
    first = (tmp_path / "parts" / "model.safetensors").read_bytes()
    shutil.rmtree(tmp_path / "w2" / "weighing")  # what is weighed has changed
    halfway = plans | {"weighing_plan": halves["weighing_plan"]}
    for left in (halfway, plans):
        zoo_csd.build(tmp_path / "parts", tmp_path / "w2", data=data, card=False, **left)
    resumed = (tmp_path / "parts" / "model.safetensors").read_bytes()
    assert resumed == (tmp_path / "whole" / "model.safetensors").read_bytes() != first


def replace_arch() -> zoo_csd.CsdArch:
    return zoo_csd.ARCH.model_copy(
        update={"width": 64, "layers": 1, "head_width": 32, "head_dim": 16, "patch_size": 16}
    )


def test_clip_and_vlm_builds_give_folders_that_the_scorers_load(
    data: EmojiData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zoo_clip, "SUBJECTS", 4)
    plan = replace(zoo_clip.PLAN, steps=2, warmup=1, save_every=2)
    zoo_clip.build(tmp_path / "clip", tmp_path / "w1", plan=plan, data=data, card=False)
    monkeypatch.setattr(zoo_vlm, "TOWER_ARCH", TowerArch(channels=(16, 16, 32, 32)))
    monkeypatch.setattr(zoo_vlm, "SUBJECTS", 4)
    monkeypatch.setattr(zoo_vlm, "PAIRS_PER_STEP", 4)
    zoo_vlm.build(tmp_path / "vlm", tmp_path / "w2", tower_plan=plan, judge_plan=plan, data=data, card=False)
    unit = TripletImages(
        *(Image.fromarray(plain(data.images[i])) for i in (0, 7, 2)), "big disc", "", "shifted"
    )
    for kind, options in (("clip", {}), ("vlm", {"min_mass": 0.0})):
        config = scorer_class(kind)(model=str(tmp_path / kind), **options)
        columns = config.load("cpu")([unit])  # type: ignore[attr-defined]
        assert tuple(columns) == config.columns  # type: ignore[attr-defined]
        assert all(np.isfinite(values).all() for values in columns.values())


SIZE_LIMITS = {"csd": 8, "clip": 10, "vlm": 14}  # MiB


@pytest.mark.parametrize("name", sorted(SIZE_LIMITS))
def test_shipped_folder_is_small_half_precision_and_has_a_card(name: str) -> None:
    from safetensors import safe_open

    folder = ZOO / name
    assert sum(p.stat().st_size for p in folder.iterdir()) <= SIZE_LIMITS[name] * 2**20
    (weights,) = folder.glob("*.safetensors")
    with safe_open(weights, "pt") as file:
        assert {file.get_slice(k).get_dtype() for k in file.keys()} <= {"F16", "I64"}  # noqa: SIM118
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "CC-BY-SA-4.0" in card and f"curate zoo build {name}" in card


def painted_triplets(data: EmojiData, count: int) -> dict[str, list[TripletImages]]:
    """True triplets of shapes that no training saw, the same with a wrong style, and with another subject."""
    groups: dict[str, list[TripletImages]] = {"true": [], "other_style": [], "other_subject": []}
    for number in range(count):
        rng = np.random.default_rng([99, number])
        x, y = rng.choice(len(SUBJECTS), 2, replace=False).tolist()
        right, wrong = sample_style(rng), sample_style(rng)
        c, s, t, other, z = (
            Image.fromarray(pixels)
            for pixels in (
                plain(drawn(x, 1)),
                apply_style(right, drawn(y, 2)),
                apply_style(right, drawn(x, 1)),
                apply_style(wrong, drawn(x, 1)),
                plain(drawn(y, 1)),
            )
        )
        groups["true"].append(TripletImages(c, s, t, SUBJECTS[x], "", "preserved"))
        groups["other_style"].append(TripletImages(c, s, other, SUBJECTS[x], "", "preserved"))
        groups["other_subject"].append(TripletImages(z, s, t, SUBJECTS[x], "", "preserved"))
    return groups


@pytest.mark.parametrize(
    ("kind", "column", "fault", "least"),
    [
        ("csd", "csd.style.style_stylized", "other_style", 0.85),
        ("clip", "clip.image.content_stylized", "other_subject", 0.7),
        ("vlm", "vlm.style.style_stylized", "other_style", 0.7),
        ("vlm", "vlm.subject.content_stylized", "other_subject", 0.6),
    ],
)
def test_shipped_weights_tell_good_from_bad_on_drawings_they_never_saw(
    data: EmojiData, kind: str, column: str, fault: str, least: float
) -> None:
    groups = painted_triplets(data, 24)
    score = scorer_class(kind)().load("cpu")  # type: ignore[attr-defined]
    assert auc(score(groups["true"])[column], score(groups[fault])[column]) >= least
