"""Where bench items come from: folders in the known layouts, lists, and emoji-bench with its truths."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from curate.bench.emoji import EmojiPlan, emoji_items
from curate.bench.items import TASKS, BenchItem, Task, slug
from curate.bench.layouts import Repeats, read_dreambench, read_uso_bench
from curate.bench.listed import read_list
from curate.bench.sources import DreamBench, ListBench, UsoBench, read_items
from curate.errors import ConfigError, SourceError
from curate.zoo.data import ALIGNED_GROUPS
from tests.bench_parts import dreambench_folder, item, save_picture, uso_folder
from tests.toy_emoji import toy_emoji

DATA = toy_emoji()
PLAN = EmojiPlan(subjects=4, parametric=2, sets=3, tasks=TASKS)


def of_task(items: list[BenchItem], task: str) -> list[BenchItem]:
    return [each for each in items if each.task == task]


def test_uso_layout_crosses_images_and_prompts(tmp_path: Path) -> None:
    root = uso_folder(tmp_path, prompts={"subject": ["a {subject} at sea", "a {subject}"], "style": ["a horse"]})
    (root / "subjects.json").write_text(json.dumps({"man_1": "man"}))
    items = read_uso_bench(root, repeats=Repeats(prompt=4, combined=1), seed=7, tasks=TASKS)
    subject, style, combined = (of_task(items, task) for task in TASKS)
    assert (len(subject), len(style), len(combined)) == (2 * 2 * 4, 2 * 1 * 4, 2 * 2)
    assert {each.prompt for each in subject} == {"a man at sea", "a man", "a red cup at sea", "a red cup"}
    assert {each.seed for each in subject} == {7, 8, 9, 10}
    assert all(each.style is None and each.references == (each.content,) for each in subject)
    assert all(each.content is None and each.references == () for each in style)
    assert {each.prompt for each in combined} == {""}
    assert len({each.item_id for each in subject}) == len(subject)


def test_names_in_any_script_reach_the_prompt_whole(tmp_path: Path) -> None:
    root = uso_folder(tmp_path, prompts={"subject": ["a {subject}"], "style": [], "combined": ["a {subject}"]})
    for seed, name in enumerate(["content/Crème_Brûlée.png", "content/чашка.png", "content/猫.png", "style/墨.png"]):
        save_picture(root / name, 10 + seed)
    items = read_items(UsoBench(root=str(root), images_per_prompt=1))
    assert {each.prompt for each in items} == {"a man 1", "a red cup", "a crème brûlée", "a чашка", "a 猫"}
    assert {"чашка_p00_s0", "猫_p00_s0"} <= {each.item_id for each in of_task(items, "subject")}
    assert "猫_墨_p00_s0" in {each.item_id for each in of_task(items, "combined")}


@pytest.mark.parametrize(("task", "needless"), [("style", "content"), ("subject", "style")])
def test_a_task_alone_needs_no_other_images(tmp_path: Path, task: Task, needless: str) -> None:
    root = uso_folder(tmp_path, prompts={"subject": ["a {subject}"], "style": ["a horse"]})
    shutil.rmtree(root / needless)
    assert {each.task for each in read_items(UsoBench(root=str(root), tasks=(task,)))} == {task}
    with pytest.raises(SourceError, match=f"{needless}: no such folder"):
        read_items(UsoBench(root=str(root)))


@pytest.mark.parametrize(("spoil", "says"), [
    (lambda root: (root / "prompts.json").unlink(), "prompts.json: cannot be read"),
    (lambda root: (root / "prompts.json").write_text('{"subjct": []}'), "'subjct' is no task"),
    (lambda root: (root / "prompts.json").write_text('{"style": "a horse"}'), "style: must be a list"),
    (lambda root: save_picture(root / "style" / "ink.jpg", 9), "more than one image is called 'ink'"),
])
def test_a_broken_uso_folder_says_what_is_wrong(tmp_path: Path, spoil: object, says: str) -> None:
    root = uso_folder(tmp_path, prompts={"style": ["a horse"]})
    spoil(root)  # type: ignore[operator]
    with pytest.raises(SourceError, match=says):
        read_uso_bench(root, repeats=Repeats(), seed=0, tasks=TASKS)


def test_dreambench_as_published(tmp_path: Path) -> None:
    root = dreambench_folder(tmp_path)
    items = read_dreambench(root, repeats=Repeats(prompt=2), seed=0, photograph=1, compare_all=False)
    assert [each.prompt for each in items if each.seed == 0] == [
        "a backpack in the jungle", "a red backpack", "a cat wearing a red hat"]
    assert all(each.content and each.content.name == "01" and each.references == (each.content,) for each in items)
    compared = read_dreambench(root, repeats=Repeats(prompt=1), seed=0, photograph=0, compare_all=True)
    assert [picture.name for picture in compared[0].references] == ["00", "01", "03"]
    with pytest.raises(SourceError, match=r"backpack: no photograph 02, which published .*: 0$"):
        read_dreambench(root, repeats=Repeats(), seed=0, photograph="published", compare_all=False)
    save_picture(root / "cat2" / "02.jpg", 9)
    save_picture(root / "backpack" / "02.jpg", 9)
    chosen = read_dreambench(root, repeats=Repeats(), seed=0, photograph="published", compare_all=False)
    assert {(each.subject, each.content.name) for each in chosen if each.content} == {
        ("backpack", "02"), ("cat2", "02")}
    with pytest.raises(SourceError, match="has 4 images, photograph is 4"):
        read_dreambench(root, repeats=Repeats(), seed=0, photograph=4, compare_all=False)


def test_dreambench_elsewhere_says_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"github\.com/google/dreambooth"):
        read_items(DreamBench(root=str(tmp_path)))
    (tmp_path / "prompts_and_classes.txt").write_text("hello")
    with pytest.raises(SourceError, match="not the file"):
        read_items(DreamBench(root=str(tmp_path)))


def test_a_limit_takes_the_same_items_every_time(tmp_path: Path) -> None:
    uso_folder(tmp_path, prompts={"subject": ["one", "two", "three"], "style": ["a horse"]})
    source = UsoBench(root=str(tmp_path), limit=3)
    ids = [(each.task, each.item_id) for each in read_items(source)]
    assert len(ids) == 9 and ids == [(each.task, each.item_id) for each in read_items(source)]


def test_a_broken_picture_stops_the_bench_before_it_begins(tmp_path: Path) -> None:
    uso_folder(tmp_path, prompts={"style": ["a horse"]})
    (tmp_path / "style" / "oil.webp").write_bytes(b"not a picture")
    with pytest.raises(SourceError, match=r"oil\.webp: this picture of the bench is unusable"):
        read_items(UsoBench(root=str(tmp_path)))


def test_names_that_would_share_files_are_refused(tmp_path: Path) -> None:
    uso_folder(tmp_path, prompts={"subject": ["a {subject}"], "style": []})
    save_picture(tmp_path / "content" / "red-cup.png", 5)
    with pytest.raises(SourceError, match="two subject items are called 'red-cup_p00_s0'"):
        read_items(UsoBench(root=str(tmp_path)))


def test_a_list_of_items(tmp_path: Path) -> None:
    save_picture(tmp_path / "cat.png", 1)
    save_picture(tmp_path / "ink.png", 2)
    (tmp_path / "list.yaml").write_text(
        "items:\n- {task: combined, content: cat.png, style: ink.png}\n"
        "- {task: style, style: ink.png, prompt: a lighthouse, subject: lighthouse, seed: 3, id: Light House}\n")
    first, second = read_items(ListBench(file=str(tmp_path / "list.yaml"), seed=7))[::-1]
    assert (first.subject, first.prompt, first.references, first.seed) == ("cat", "", (first.content,), 7)
    assert (second.item_id, second.subject, second.seed, second.content) == ("light-house", "lighthouse", 3, None)


def test_pictures_of_a_list_that_share_a_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    contents = ["dog/00.png", "cat/00.png", "in/fox.png", "in/../in/fox.png", "in/ox.png", "in/ox.jpg", "in/hen.png"]
    for seed, name in enumerate([*contents, "style/hen.png"]):
        save_picture(tmp_path / name, seed)
    entries = "".join(f"- {{task: combined, content: {name}, style: style/hen.png}}\n"
                      for name in [*contents[:-1], tmp_path / contents[-1]])
    (tmp_path / "list.yaml").write_text("items:\n" + entries)
    items = read_list(tmp_path / "list.yaml", seed=0)
    names = ["dog/00", "cat/00", "fox", "fox", "ox.png", "ox.jpg", "hen"]
    assert [each.subject for each in items] == [each.content.name for each in items if each.content] == names
    assert {each.style.name for each in items if each.style} == {"hen"}, "a style shares its name with a content"


@pytest.mark.parametrize(("entry", "says"), [
    ("{task: combined, content: cat.png}", "list.yaml:2: items.0: a combined item needs `style:`"),
    ("{task: subject, content: cat.png, style: cat.png}", "takes no `style:`"),
    ("{task: subject, content: dog.png}", "dog.png is not there"),
    ("{task: subject, contnet: cat.png}", "did you mean 'content'"),
])
def test_a_wrong_entry_is_named_with_file_and_line(tmp_path: Path, entry: str, says: str) -> None:
    save_picture(tmp_path / "cat.png", 1)
    (tmp_path / "list.yaml").write_text(f"items:\n- {entry}\n")
    with pytest.raises(ConfigError) as caught:
        read_list(tmp_path / "list.yaml", seed=0)
    assert says in str(caught.value)


def test_emoji_bench_shows_held_out_subjects_and_knows_the_answers() -> None:
    items = emoji_items(DATA, PLAN)
    heldout = {name for name, out in zip(DATA.subjects, DATA.heldout_subjects, strict=True) if out}
    assert {each.subject for each in items} <= heldout and len({each.subject for each in items}) == 4
    assert len(of_task(items, "combined")) == len(of_task(items, "style")) == 4 * (2 + 3)
    assert 4 <= len(of_task(items, "subject")) <= 4 * 2
    for each in items:
        assert each.truth is not None and each.prompt == each.subject
        assert each.truth.candidates[each.truth.subject_at] == each.truth.plain
        assert each.content in (None, each.truth.plain)
    combined = of_task(items, "combined")
    assert all(each.truth.target is not None for each in combined if each.truth and each.truth.set_name is None)
    assert any(each.truth and each.truth.set_name for each in combined)


def test_the_answer_is_the_references_style_on_the_contents_drawing() -> None:
    """Where every subject of a set is one drawing, reference and answer must be one picture."""
    alike = replace(DATA, images=DATA.images[DATA.rows[0]][DATA.set_index])
    combined = of_task(emoji_items(alike, PLAN), "combined")
    for each in combined:
        assert each.truth is not None and each.style is not None and each.content is not None
        if each.truth.target is not None:
            assert each.truth.target.data == each.style.data
    assert sum(each.truth is not None and each.truth.target is not None for each in combined) >= 4 * 2


def test_answers_between_sets_are_known_only_where_layouts_agree() -> None:
    groups = [set(group) for group in ALIGNED_GROUPS]
    seen = set()
    for each in of_task(emoji_items(DATA, replace(PLAN, sets=12)), "combined"):
        assert each.truth is not None and each.content is not None
        if each.truth.set_name is not None:
            pair = {each.content.name.split(".")[1], each.truth.set_name}
            known = each.truth.target is not None
            assert len(pair) == 2 and known == any(pair <= group for group in groups)
            seen.add(known)
    assert seen == {True, False}


def test_emoji_bench_is_a_function_of_its_seed() -> None:
    first, second = emoji_items(DATA, PLAN), emoji_items(DATA, PLAN)
    assert [each.fingerprint for each in first] == [each.fingerprint for each in second]
    other = emoji_items(DATA, EmojiPlan(4, 2, 3, TASKS, seed=1))
    assert not {each.fingerprint for each in first} & {each.fingerprint for each in other}


def test_more_subjects_than_are_held_out_is_an_error() -> None:
    with pytest.raises(SourceError, match=r"lower bench\.subjects"):
        emoji_items(DATA, EmojiPlan(50, 1, 1, TASKS))


def test_a_fingerprint_sees_all_that_a_system_is_given() -> None:
    prints = [item(1), item(2), item(1, "subject"), item(1, prompt="blue"), item(1, seed=1)]
    assert len({each.fingerprint for each in prints}) == 5
    assert item(1).fingerprint == item(1).fingerprint


def test_slugs_are_safe_in_file_names() -> None:
    assert slug("A cat, sitting: 2/3") == "a-cat-sitting-2-3"
    assert slug("…") == "none" and len(slug("word " * 40)) <= 60
    assert slug("Crème Brûlée") == "crème-brûlée" and len(slug("猫" * 40).encode()) <= 60
