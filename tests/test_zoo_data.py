"""The zoo's data: matching names over sets, rendering, what is held out, and the training stream."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curate.errors import SourceError
from curate.parametric import plain
from curate.sources.heldout import is_heldout, matching_key
from curate.zoo import iconify
from curate.zoo.data import (
    HELDOUT_SETS,
    EmojiData,
    load_emoji,
    match_subjects,
    over,
    render,
    render_sets,
    save_emoji,
)
from curate.zoo.iconify import IconSet, fetch_packages, is_subject, read_set
from curate.zoo.restyle_data import DESTYLIZE, KINDS, RestyleStream, aligned_pairs, collate
from tests.toy_emoji import toy_emoji

RED = '<path fill="#f00" d="M0 0h8v16H0z"/>'  # the left half of a 16 x 16 icon
BLUE = '<path fill="#00f" d="M0 0h16v16H0z"/>'


def package(folder: Path, icons: dict[str, str], aliases: dict[str, Any] | None = None, version: str = "1") -> Path:
    folder.mkdir(parents=True)
    data = {
        "icons": {name: {"body": body} for name, body in icons.items()},
        "aliases": aliases or {},
        "width": 16,
        "height": 16,
    }
    (folder / "icons.json").write_text(json.dumps(data))
    (folder / "info.json").write_text(json.dumps({"license": {"spdx": "MIT"}, "author": {"name": "Ann"}}))
    (folder / "package.json").write_text(json.dumps({"version": version}))
    return folder


def sets_of(tmp_path: Path, *icons: dict[str, str], aliases: dict[str, Any] | None = None) -> list[IconSet]:
    return [read_set(package(tmp_path / f"set{n}", each, aliases)) for n, each in enumerate(icons)]


def test_names_match_whatever_their_hyphens(tmp_path: Path) -> None:
    sets = sets_of(tmp_path, {"red-heart": RED}, {"red_heart": RED}, {"redheart": RED}, {"tent": BLUE})
    data = render_sets(sets, min_sets=3)
    assert data.subjects == ("red heart",)
    assert data.set_index.tolist() == [0, 1, 2]
    assert data.licences == ("MIT",) * 4
    assert data.find("set1", "red heart") == 1
    assert data.find("set3", "red heart") is None
    with pytest.raises(ValueError, match="is not in"):
        data.find("set9", "red heart")


@pytest.mark.parametrize(
    "name", ["wave-dark-skin-tone", "flag-for-peru", "keycap-3", "peruflag", "regional-indicator-a"]
)
def test_variants_and_country_flags_are_no_subjects(name: str) -> None:
    assert not is_subject(name)


@pytest.mark.parametrize(
    "name", ["black-flag", "chequered-flag", "gem-stone", "key", "closed-mailbox-with-raised-flag"]
)
def test_things_are_subjects(name: str) -> None:
    assert is_subject(name) or name.startswith("closed")


def test_two_names_of_one_drawing_make_one_subject(tmp_path: Path) -> None:
    sets = sets_of(tmp_path, *[{"bear": RED}] * 3, aliases={"bear-face": {"parent": "bear"}})
    assert list(match_subjects(sets, min_sets=3)) == ["bear"]


def test_a_mirrored_alias_is_a_drawing_of_its_own_and_is_mirrored(tmp_path: Path) -> None:
    [only] = sets_of(tmp_path, {"left": RED}, aliases={"right": {"parent": "left", "hFlip": True}})
    left, right = (render(only.icons[key].svg) for key in ("left", "right"))
    assert only.icons["right"].parent != only.icons["left"].parent
    assert (left[:, :32, 3] == 255).all()
    assert (left[:, 32:, 3] == 0).all()
    np.testing.assert_array_equal(right, left[:, ::-1])


def test_over_lays_straight_alpha_over_a_colour() -> None:
    rgba = np.array([[[200, 0, 0, 255], [200, 0, 0, 0], [200, 0, 0, 51]]], dtype=np.uint8)
    np.testing.assert_array_equal(over(rgba, (0, 100, 0)), [[[200, 0, 0], [0, 100, 0], [40, 80, 0]]])


def test_holding_out_depends_on_the_name_alone() -> None:
    names = [f"thing {n}" for n in range(2000)]
    assert 0.12 < np.mean([is_heldout(name) for name in names]) < 0.18
    assert is_heldout("red heart") == is_heldout("red-heart") == is_heldout("redheart")
    assert matching_key("Red_Heart") == "redheart"
    assert matching_key("Piñata: mrs. claus") == matching_key("pinata-mrs-claus")


def test_the_cache_file_gives_back_the_same_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iconify, "PACKAGE_VERSIONS", {"a": "1", "b": "1"})
    monkeypatch.setattr("curate.zoo.data.PACKAGE_VERSIONS", {"a": "1", "b": "1"})
    monkeypatch.setattr("curate.zoo.data.MIN_SETS", 2)
    for name in "ab":
        package(tmp_path / "npm" / "node_modules" / "@iconify-json" / name, {f"thing-{n}": RED for n in range(9)})
    made = render_sets([read_set(tmp_path / "npm/node_modules/@iconify-json" / name) for name in "ab"], min_sets=2)
    save_emoji(made, tmp_path / "x.npz")
    monkeypatch.setattr("curate.zoo.data.render_sets", lambda sets: made)
    first, second = load_emoji(tmp_path), load_emoji(tmp_path)
    assert len(list(tmp_path.glob("emoji-64-*.npz"))) == 1
    for data in (first, second):
        np.testing.assert_array_equal(data.images, made.images)
        assert (data.subjects, data.set_names, data.licences) == (made.subjects, made.set_names, made.licences)


def test_without_npm_the_error_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(SourceError, match="npm is needed once to fetch the emoji sets noto, "):
        fetch_packages(tmp_path)


def test_take_keeps_only_the_named_subjects() -> None:
    data = toy_emoji(5)
    few = data.take(np.array([False, True, False, True, False]))
    assert few.subjects == ("thing 1", "thing 3")
    assert len(few.images) == 2 * len(data.set_names)
    row = few.find("noto", "thing 3")
    assert row is not None
    np.testing.assert_array_equal(few.images[row], data.images[data.rows[3, 0]])


@pytest.fixture(scope="module")
def data() -> EmojiData:
    return toy_emoji()


def test_a_sample_is_a_function_of_seed_and_position(data: EmojiData) -> None:
    one, two, other = RestyleStream(data, seed=1), RestyleStream(data, seed=1), RestyleStream(data, seed=2)
    np.testing.assert_array_equal(one.sample(17).target, two.sample(17).target)
    assert one.sample(17).similarity == two.sample(17).similarity
    assert any((one.sample(n).target != other.sample(n).target).any() for n in range(4))
    batch = RestyleStream(data, seed=1, batch=4)
    np.testing.assert_array_equal(batch.samples_at(3)[2].image, one.sample(14).image)


def test_training_never_sees_what_is_held_out(data: EmojiData) -> None:
    stream = RestyleStream(data, seed=0)
    rows = np.concatenate([*stream.by_set.values(), stream.aligned_pairs.ravel()])
    assert data.heldout_subjects.any()
    assert not data.heldout_subjects[data.subject_index[rows]].any()
    assert not {data.set_names[index] for index in data.set_index[rows]} & set(HELDOUT_SETS)


def test_every_kind_of_sample_is_what_its_name_says(data: EmojiData) -> None:
    stream = RestyleStream(data, seed=0)
    samples = [stream.sample(index) for index in range(120)]
    assert {sample.kind for sample in samples} == set(range(len(KINDS)))
    whites = {plain(image).tobytes() for image in data.images}
    whites |= {plain(image[:, ::-1]).tobytes() for image in data.images}
    for sample in samples:
        kind = KINDS[sample.kind]
        if kind in ("destylize", "undraw"):
            assert sample.task == DESTYLIZE
            assert sample.target.tobytes() in whites
            assert sample.reference is sample.image
        else:
            assert sample.image.tobytes() in whites
        if kind == "keep":
            np.testing.assert_array_equal(sample.image, sample.target)


def test_undrawing_monochrome_sets_gives_the_coloured_set_of_their_group(data: EmojiData) -> None:
    plain_row = RestyleStream(data, seed=0).plain_row
    for name, wanted in (("emojione-monotone", "emojione"), ("fluent-emoji", "fluent-emoji-flat"), ("noto", "noto")):
        assert plain_row[data.find(name, "thing 2")] == data.find(wanted, "thing 2")


def test_aligned_pairs_leave_out_noto_drawings_whose_layout_differs(data: EmojiData) -> None:
    everyone = np.ones(len(data.subjects), dtype=bool)
    moved = dataclasses.replace(data, images=data.images.copy())
    row = data.find("noto-v1", "thing 3")
    assert row is not None
    moved.images[row] = np.roll(moved.images[row], 12, axis=0)
    lost = len(aligned_pairs(data, everyone)) - len(aligned_pairs(moved, everyone))
    assert lost == 2


def test_collate_moves_image_and_target_alike(data: EmojiData) -> None:
    stream = RestyleStream(data, seed=0)
    sample = next(s for s in map(stream.sample, range(200)) if s.kind == 1 and s.similarity.scale != 1)
    still = collate([dataclasses.replace(sample, similarity=type(sample.similarity)(False, 1.0, 0.0, 0.0, 0.0))])
    moved = collate([sample])
    assert (moved.target - still.target).abs().mean() > 0.05
    assert (moved.image - moved.reference).abs().max() == 0
    assert moved.image.shape == (1, 3, 64, 64)
    assert moved.target.max() <= 1.001
