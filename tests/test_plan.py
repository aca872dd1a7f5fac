"""Plans: what is drawn, that nothing but content decides it, and that ids change exactly when results do."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pydantic import TypeAdapter

from curate.errors import ConfigError, SourceError
from curate.planning import FromPairConfig, FromStylizedConfig, RecipeConfig, build_units, calls
from curate.planning.draws import FairDraw
from curate.planning.nouns import NOUNS
from curate.planning.subjects import side_of, subject_key
from curate.records import ExpertCall, SourceItem, Unit
from curate.seeds import digest, seed
from curate.sources import FolderSource

EXPERTS = {"stylize": {"model": "s1"}, "destylize": {"model": "d1"}}
Recipe = FromStylizedConfig | FromPairConfig


def item(name: str, *, subject: str = "", style: str = "", caption: str = "") -> SourceItem:
    sha256 = hashlib.sha256(name.encode()).hexdigest()
    return SourceItem("any", f"loc/{name}", f"/data/{name}", sha256, caption, subject, style)


def targets(n: int) -> list[SourceItem]:
    sets = ["twemoji/dots", "twemoji/sepia", "openmoji/dots", "openmoji/sepia"]
    return [item(f"target{i}", subject=f"thing {i}", style=sets[i % 4]) for i in range(n)]


def bank(n: int) -> list[SourceItem]:
    sets = ["twemoji", "openmoji"]
    return [item(f"bank{i}", subject=f"thing {i}", style=f"{sets[i % 2]}/as-drawn") for i in range(n)]


def plan(recipe: Recipe, items: dict[str, list[SourceItem]], **changes: Any) -> list[Unit]:
    settings: dict[str, Any] = {"experts_identity": EXPERTS, "seed": 0, "size": 64, "val_fraction": 0.2, **changes}
    return list(build_units(recipe, items=items, **settings))


def ids(units: list[Unit]) -> list[str]:
    return [unit.unit_id for unit in units]


STYLIZED = {"input": targets(80), "subjects": bank(100)}
PAIRS = {"contents": bank(40), "styles": [item(f"style{i}", style=f"style {i}") for i in range(20)]}
BOTH: list[tuple[Recipe, dict[str, list[SourceItem]]]] = [
    (FromStylizedConfig(per_target=2, layout="both"), STYLIZED), (FromPairConfig(count=200, layout="both"), PAIRS)]
each_recipe = pytest.mark.parametrize("recipe,items", BOTH, ids=["from_stylized", "from_pair"])


def test_stylized_units() -> None:
    units = plan(FromStylizedConfig(per_target=3), STYLIZED)
    assert len(units) == 240 and [unit.index for unit in units] == list(range(240))
    by_target: dict[str, set[str]] = {}
    for unit in units:
        target, new = unit.inputs["stylized"], unit.inputs["subject"]
        assert unit.subject == unit.caption == target.subject and unit.style == target.style
        assert unit.style_subject == unit.style_caption == new.subject
        assert target.subject != new.subject, "the new subject is never the target's own"
        by_target.setdefault(target.sha256, set()).add(new.subject)
    assert {len(new) for new in by_target.values()} == {3}, "each time another one"


def test_own_subject_is_recognised_in_other_words_and_in_the_same_picture() -> None:
    assert subject_key("The Red-Heart!") == subject_key("red_heart") == "red heart"
    only = [item("b0", subject="A Red Heart"), item("b1", subject="tent")]
    units = plan(FromStylizedConfig(), {"input": [item("t", subject="red-heart")], "subjects": only}, val_fraction=0)
    assert units[0].style_subject == "tent"
    unknown = [item("same"), item("b1")]
    units = plan(FromStylizedConfig(), {"input": [item("same")], "subjects": unknown}, val_fraction=0)
    assert units[0].inputs["subject"] == unknown[1]
    renamed = [dataclasses.replace(item("same"), subject="other words"), item("b1", subject="tent")]
    units = plan(FromStylizedConfig(), {"input": [item("same", subject="words")], "subjects": renamed}, val_fraction=0)
    assert units[0].style_subject == "tent"
    with pytest.raises(SourceError, match="needs 1 other subject"):
        plan(FromStylizedConfig(), {"input": [item("same")], "subjects": [item("same")]}, val_fraction=0)


def test_what_the_caption_names_is_no_new_subject() -> None:
    shown = item("t", caption="Two polar bears on a sofa, with kites")
    words = ("polar bear", "a sofa", "kite", "bear", "tent")
    recipes = [FromStylizedConfig(new_subject=kind) for kind in ("image", "both", "prompt")]  # type: ignore[arg-type]
    for recipe in recipes:
        for field in ("subject", "caption"):
            known = [item(f"b{i}", **{field: text}) for i, text in enumerate(words)]
            units = plan(recipe, {"input": [shown], "subjects": known}, val_fraction=0)
            assert units[0].inputs.get("subject", known[4]) == known[4]
            assert recipe.new_subject == "image" or units[0].style_caption == "tent"
    other = [dataclasses.replace(shown, caption=text) for text in ("a bearded man", "tents")]
    assert plan(FromStylizedConfig(), {"input": other[:1], "subjects": [item("b", subject="bear")]}, val_fraction=0)
    with pytest.raises(SourceError):
        plan(FromStylizedConfig(), {"input": other[1:], "subjects": [item("b", subject="tent")]}, val_fraction=0)


@each_recipe
def test_subjects_stay_on_their_side(recipe: Recipe, items: dict[str, list[SourceItem]]) -> None:
    units = plan(recipe, items)
    sides = Counter(unit.side for unit in units)
    assert 0 < sides["val"] < 0.4 * len(units)
    for unit in units:
        for one in unit.inputs.values():
            assert side_of(subject_key(one.subject) or one.sha256, seed=0, val_fraction=0.2) == unit.side
    assert {unit.side for unit in plan(recipe, items, val_fraction=0.0)} == {"train"}


def test_bank_is_used_evenly() -> None:
    units = plan(FromStylizedConfig(per_target=10), {"input": targets(80), "subjects": bank(40)}, val_fraction=0)
    uses = Counter(unit.inputs["subject"].sha256 for unit in units)
    assert len(uses) == 40 and min(uses.values()) >= 14 and max(uses.values()) <= 25, "mean 20"
    few = Counter(unit.inputs["subject"].sha256 for unit in plan(FromStylizedConfig(), STYLIZED, val_fraction=0))
    assert max(few.values()) <= 1, "nothing twice while the bank is larger than the number of draws"


def test_match_set() -> None:
    units = plan(FromStylizedConfig(match_set=True), STYLIZED)
    assert all(u.style.split("/")[0] == u.inputs["subject"].style.split("/")[0] for u in units)
    loose = plan(FromStylizedConfig(), STYLIZED)
    assert any(u.style.split("/")[0] != u.inputs["subject"].style.split("/")[0] for u in loose)
    with pytest.raises(SourceError, match="of the set 'openmoji'"):
        plan(FromStylizedConfig(match_set=True), {**STYLIZED, "subjects": STYLIZED["subjects"][::2]})


def test_too_small_a_bank_is_refused_with_advice() -> None:
    with pytest.raises(SourceError, match=r"target\d+ is on the val side .* has 0 in all.*val_fraction: 0"):
        on_train = [b for b in bank(9) if side_of(b.subject, seed=0, val_fraction=0.2) == "train"]
        plan(FromStylizedConfig(), {"input": targets(80), "subjects": on_train})
    with pytest.raises(SourceError, match=r"smaller recipe\.per_target"):
        plan(FromStylizedConfig(per_target=50), STYLIZED)
    for recipe, items, message in [
        (FromStylizedConfig(), {"input": targets(3)}, "needs a source `subjects`"),
        (FromStylizedConfig(), {"subjects": bank(3)}, r"sources\.input: this source is required"),
        (FromPairConfig(count=1), {"contents": bank(3), "styles": []}, r"sources\.styles: no images"),
        (FromStylizedConfig(new_subject="both"), {"input": targets(3), "subjects": [item("a")]}, "1 of 1 images"),
        (FromPairConfig(count=10), {"contents": bank(3), "styles": bank(3)}, "10 pairs wanted, and 6 can be made"),
    ]:
        with pytest.raises(SourceError, match=message):
            plan(recipe, items, val_fraction=0)


def test_new_subjects_by_prompt(tmp_path: Path) -> None:
    recipe = FromStylizedConfig(new_subject="prompt")
    units = plan(recipe, {"input": targets(20)})
    assert all(set(u.inputs) == {"stylized"} and u.style_caption in NOUNS for u in units)
    assert len({u.style_caption for u in units}) == 20
    units = plan(recipe, STYLIZED)
    assert all("subject" not in u.inputs and u.style_caption.startswith("thing ") for u in units)
    words = tmp_path / "words.txt"
    words.write_text("# birds\nheron\nKestrel\n\nthe heron\n")
    units = plan(FromStylizedConfig(new_subject="prompt", words=str(words)), {"input": targets(20)}, val_fraction=0)
    assert {subject_key(u.style_subject) for u in units} == {"heron", "kestrel"}
    words.write_text("\n")
    for path, message in [(str(words), "holds no words"), (str(tmp_path / "none.txt"), r"none\.txt.*cannot be read")]:
        with pytest.raises(SourceError, match=message):
            plan(FromStylizedConfig(new_subject="prompt", words=path), {"input": targets(2)})


def test_pairs_are_balanced_and_never_repeat() -> None:
    units = plan(FromPairConfig(count=200), PAIRS, val_fraction=0)
    pairs = {(u.inputs["content"].sha256, u.inputs["style"].sha256) for u in units}
    assert len(pairs) == len(units) == 200
    contents = Counter(u.inputs["content"].sha256 for u in units)
    styles = Counter(u.inputs["style"].sha256 for u in units)
    assert set(contents.values()) == {5} and len(styles) == 20
    assert min(styles.values()) >= 8 and max(styles.values()) <= 13, "mean 10"
    everything = plan(FromPairConfig(count=800), PAIRS, val_fraction=0)
    assert len({(u.inputs["content"].sha256, u.inputs["style"].sha256) for u in everything}) == 800
    with_val = plan(FromPairConfig(count=200), PAIRS)
    assert len(with_val) == 200 and 0 < sum(u.side == "val" for u in with_val) <= 80


def test_pairs_do_not_pair_a_subject_with_itself() -> None:
    units = plan(FromPairConfig(count=90), {"contents": bank(10), "styles": bank(10)}, val_fraction=0)
    assert len(units) == 90 and all(u.subject != u.style_subject for u in units)


def test_layouts() -> None:
    for recipe, items in BOTH:
        counts = Counter(u.layout for u in plan(recipe, items))
        assert 0.4 < counts["preserved"] / counts.total() < 0.6
    per_target: dict[str, set[str]] = {}
    for u in plan(FromStylizedConfig(per_target=2, layout="both"), STYLIZED):
        per_target.setdefault(u.inputs["stylized"].sha256, set()).add(u.layout)
    assert {len(layouts) for layouts in per_target.values()} == {2}
    assert {u.layout for u in plan(FromPairConfig(count=5, layout="shifted"), PAIRS)} == {"shifted"}


@each_recipe
def test_plan_does_not_depend_on_places_or_order(recipe: Recipe, items: dict[str, list[SourceItem]]) -> None:
    before = plan(recipe, items)
    moved = {name: [dataclasses.replace(i, locator=f"elsewhere/{n}", uri=f"s3://new/{n}", source="renamed",
                                        licence="MIT", attribution="someone")
                    for n, i in enumerate(random.Random(1).sample(these, len(these)))] for name, these in items.items()}
    after = plan(recipe, moved)
    assert ids(before) == ids(after)
    assert [u.layout for u in before] == [u.layout for u in after]


def test_moving_a_folder_changes_no_unit(tmp_path: Path) -> None:
    def write(folder: Path, name: str, i: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (i, 0, 0)).save(folder / f"{name}.png")
        (folder / f"{name}.txt").write_text(f"picture {i}")

    plans = []
    for root, name in [(tmp_path / "a", "{0:02}"), (tmp_path / "moved/b", "x{1}-{0}")]:
        for i in range(12):
            write(root / "in" / str(i % 3 if root.name == "b" else ""), name.format(i, 50 - i), i)
            write(root / "bank", name.format(i, 50 - i), 100 + i)
        scans = {s: FolderSource(path=str(root / d), sidecar="txt").scan(s).items
                 for s, d in [("input", "in"), ("subjects", "bank")]}
        plans.append(plan(FromStylizedConfig(), scans, val_fraction=0))
    assert ids(plans[0]) == ids(plans[1]) and len(plans[0]) == 12


@each_recipe
def test_ids_change_with_what_determines_the_result(recipe: Recipe, items: dict[str, list[SourceItem]]) -> None:
    before = set(ids(plan(recipe, items)))
    other_expert = {"experts_identity": {**EXPERTS, "stylize": {"model": "s2"}}}
    for change in ({"seed": 1}, {"size": 128}, {"fit": "crop"}, other_expert):
        assert before.isdisjoint(ids(plan(recipe, items, **change))), change
    destylized = set(ids(plan(recipe, items, experts_identity={**EXPERTS, "destylize": {"model": "d2"}})))
    assert (before == destylized) == (recipe.kind == "from_pair"), "from_pair does not use that expert"
    assert before == set(ids(plan(recipe, items, val_fraction=0.2, limit=None)))


@each_recipe
def test_a_caption_changes_its_own_units_only(recipe: Recipe, items: dict[str, list[SourceItem]]) -> None:
    name = next(iter(items))
    changed = [dataclasses.replace(items[name][0], caption="new words"), *items[name][1:]]
    before, after = plan(recipe, items), plan(recipe, {**items, name: changed})
    touched = {u.unit_id for u in before if items[name][0] in u.inputs.values()}
    assert touched and set(ids(before)) - set(ids(after)) == touched


@each_recipe
@pytest.mark.parametrize("which", [0, 1])
def test_one_more_image_leaves_nearly_all_units(recipe: Recipe, items: dict[str, list[SourceItem]], which: int) -> None:
    name = list(items)[which]
    before = set(ids(plan(recipe, items)))
    kept = []
    for new in ("new", "newer", "newest", "one more"):
        after = set(ids(plan(recipe, {**items, name: [*items[name], item(new)]})))
        kept.append(len(before & after) / len(before))
    assert min(kept) >= 0.75 and sum(kept) / len(kept) >= 0.85, kept


@each_recipe
def test_limit_is_a_representative_beginning(recipe: Recipe, items: dict[str, list[SourceItem]]) -> None:
    whole = plan(recipe, items)
    first = plan(recipe, items, limit=20)
    assert first == whole[:20]
    counts = Counter(u.style for u in first)
    expected = {style: n * 20 / len(whole) for style, n in Counter(u.style for u in whole).items()}
    assert all(abs(counts[style] - n) <= 1 for style, n in expected.items())


def test_a_rare_style_is_neither_first_nor_last() -> None:
    many, few = [item(f"a{i}", style="common") for i in range(90)], [item(f"b{i}", style="rare") for i in range(10)]
    units = plan(FromStylizedConfig(), {"input": many + few, "subjects": bank(100)})
    rare = [unit.index for unit in units if unit.style == "rare"]
    assert all(10 * i <= index < 10 * (i + 1) for i, index in enumerate(rare)), rare


def test_equal_images_count_once() -> None:
    twice = {"input": [*targets(10), *targets(10)], "subjects": [*bank(30), *bank(30)]}
    once = {"input": targets(10), "subjects": bank(30)}
    assert ids(plan(FromStylizedConfig(), twice)) == ids(plan(FromStylizedConfig(), once))


def test_calls() -> None:
    make_content = ExpertCall("content", "destylize", "stylized", None, "caption")
    assert calls(FromStylizedConfig()) == (make_content, ExpertCall("style", "stylize", "subject", "stylized", None))
    by_words, by_both = (calls(FromStylizedConfig(new_subject=new))[1] for new in ("prompt", "both"))
    assert by_words == ExpertCall("style", "stylize", None, "stylized", "style_caption")
    assert by_both == ExpertCall("style", "stylize", "subject", "stylized", "style_caption")
    assert calls(FromPairConfig(count=1)) == (ExpertCall("stylized", "stylize", "content", "style", "caption"),)
    with pytest.raises(ConfigError, match=r"experts\.destylize: .*needs an expert that can destylize"):
        plan(FromStylizedConfig(), STYLIZED, experts_identity={"stylize": {}})


def test_recipe_config_is_told_apart_by_kind() -> None:
    adapter: TypeAdapter[Recipe] = TypeAdapter(RecipeConfig)
    assert adapter.validate_python({"kind": "from_pair", "count": 3}) == FromPairConfig(count=3)
    assert adapter.validate_python({"kind": "from_stylized"}) == FromStylizedConfig()


def test_fair_draw_falls_back_to_the_least_used() -> None:
    draw = FairDraw(["a", "b", "c"], draws=3, seed=0)
    assert draw.take(list("012345"), [{1, 2}] * 6) == [0] * 6, "a cap never refuses the only choice"
    assert draw.take(["x"], [{0, 1, 2}]) == [None]
    assert draw.take(["y"], [{0}])[0] in (1, 2), "what has reached the cap is passed over"


def plain_draws(bank: list[str], draws: int, targets: list[str], banned: list[set[int]]) -> list[int]:
    """What ``FairDraw`` promises, one score at a time."""
    used = [0] * len(bank)
    mask = 2**64 - 1

    def score(key: str, target: str) -> int:
        x = seed(0, "bank", key) ^ seed(0, "draw", target)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            x = (x ^ x >> shift) * factor & mask
        return x ^ x >> 31

    chosen = []
    for target, out in zip(targets, banned, strict=True):
        allowed = [i for i in range(len(bank)) if i not in out]
        open_ = [i for i in allowed if used[i] < math.ceil(1.25 * draws / len(bank))]
        open_ = open_ or [i for i in allowed if used[i] == min(used[i] for i in allowed)]
        first, *others = sorted(open_, key=lambda i: -score(bank[i], target))
        best = others[0] if others and used[others[0]] < used[first] else first
        used[best] += 1
        chosen.append(best)
    return chosen


@pytest.mark.parametrize("size,number", [(5, 60), (40, 50), (700, 650)])
def test_draws_are_those_of_the_plain_rule(size: int, number: int) -> None:
    keys, names = [f"key {i}" for i in range(size)], [f"target {i}" for i in range(number)]
    rng = random.Random(size)
    banned = [set(rng.sample(range(size), rng.randrange(min(size, 30)))) for _ in names]
    draw = FairDraw(keys, draws=number, seed=0)
    halves = draw.take(names[:number // 3], banned[:number // 3]) + draw.take(names[number // 3:], banned[number // 3:])
    assert halves == plain_draws(keys, number, names, banned)


@each_recipe
@pytest.mark.parametrize("captioner", [None, {"model": "c"}])
def test_ids_are_hashes_of_the_facts(recipe: Recipe, items: dict[str, list[SourceItem]],
                                     captioner: dict[str, str] | None) -> None:
    name = next(iter(items))
    odd = dataclasses.replace(items[name][0], caption='say "ü"\\n\t', subject="")
    mute = dataclasses.replace(items[name][1], caption="", subject="")
    for unit in plan(recipe, {**items, name: [odd, mute, *items[name][2:]]}, captioner=captioner):
        steps = calls(recipe)
        facts: dict[str, Any] = {
            "recipe": recipe.kind, "calls": [[c.makes, c.verb, c.content, c.style, c.prompt] for c in steps],
            "experts": {c.verb: EXPERTS[c.verb] for c in steps}, "layout": unit.layout, "seed": 0, "size": 64,
            "fit": "pad", "captions": [unit.caption, unit.style_caption],
            "inputs": {role: one.sha256 for role, one in unit.inputs.items()}}
        if captioner and not unit.caption:
            facts["captioner"] = captioner
        assert unit.unit_id == digest(json.dumps(facts, sort_keys=True, ensure_ascii=False))


@pytest.mark.parametrize("which,expected", [(0, "02a080e4c5c1a27bd0104f59908191e7"),
                                            (1, "cfc668495dc6ff8c27e36d337c71fc82")])
def test_plans_are_those_of_the_first_version(which: int, expected: str) -> None:
    """Ids, order, sides and layouts, so that an old run goes on and its shards come out byte for byte."""
    units = plan(*BOTH[which])
    assert digest(*(f"{unit.unit_id} {unit.index} {unit.side} {unit.layout}" for unit in units)) == expected
