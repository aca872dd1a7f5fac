"""Systems and the making of their images: every item has an outcome, nothing is made twice, failures have reasons."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
from diffusers import Flux2KleinPipeline, FluxKontextPipeline

from curate.bench.items import BenchItem
from curate.bench.making import count_missing, make_images
from curate.bench.systems import (
    AnySystem,
    CopyContent,
    CopyStyle,
    FolderSystem,
    PipelineSystem,
    TruthSystem,
    clashing_items,
)
from curate.config import parse
from curate.errors import ConfigError, ModelError
from curate.seeds import digest
from pipelines.diffusers_expert import DiffusersExpert, ImageArguments
from tests.bench_parts import item, picture, save_picture
from tests.preset_parts import PRESETS, expert_of
from tests.tiny_pipelines import save_instruct_pix2pix

ITEMS = [item(1), item(2), item(3, "subject"), item(4, "style")]


def statuses(system: AnySystem, items: list[BenchItem], out: Path) -> list[str]:
    return [outcome.status for outcome in make_images(system, items, out, device="cpu")]


def made_at(out: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in out.rglob("*.png")}


def test_copies_do_what_they_can_and_say_why_not(tmp_path: Path) -> None:
    content = make_images(CopyContent(name="c"), ITEMS, tmp_path, device="cpu")
    assert [outcome.status for outcome in content] == ["made", "made", "made", "skipped"]
    assert content[3].reason == "a style item has no content image"
    assert content[0].picture is not None and ITEMS[0].content is not None
    assert content[0].picture.open().tobytes() == ITEMS[0].content.open().tobytes()
    assert content[0].picture.source == tmp_path / "c" / "combined" / "item-1.png"
    assert statuses(CopyStyle(name="s"), ITEMS, tmp_path) == ["made", "made", "skipped", "made"]
    assert statuses(TruthSystem(name="t"), ITEMS, tmp_path) == ["skipped"] * 4
    assert statuses(CopyContent(name="only", tasks=("subject",)), ITEMS, tmp_path) == [
        "skipped", "skipped", "made", "skipped"]


def test_a_second_run_makes_nothing_twice(tmp_path: Path) -> None:
    system = CopyContent(name="c", batch=2)
    make_images(system, ITEMS, tmp_path, device="cpu")
    before = made_at(tmp_path)
    assert len(before) == 3 and count_missing(system, ITEMS, tmp_path) == 0
    again = make_images(system, ITEMS, tmp_path, device="cpu")
    assert made_at(tmp_path) == before and [outcome.status for outcome in again].count("made") == 3


def test_only_what_is_missing_changed_or_half_written_is_made(tmp_path: Path) -> None:
    system = CopyContent(name="c")
    make_images(system, ITEMS, tmp_path, device="cpu")
    before = made_at(tmp_path)
    (tmp_path / "c" / "combined" / "item-1.json").unlink()  # as after a crash between image and note
    changed = replace(ITEMS[1], content=picture(77))
    items = [ITEMS[0], changed, *ITEMS[2:]]
    assert count_missing(system, items, tmp_path) == 2
    outcomes = make_images(system, items, tmp_path, device="cpu")
    after = made_at(tmp_path)
    assert {name for name in before if after[name] != before[name]} == {"item-1.png", "item-2.png"}
    assert outcomes[1].picture is not None
    assert outcomes[1].picture.open().tobytes() == picture(77).open().tobytes()


def test_a_folder_made_elsewhere_with_holes(tmp_path: Path) -> None:
    pattern = "{task}/{content}_{style}_{prompt}_{seed}.png"
    system = FolderSystem(name="f", root=str(tmp_path / "theirs"), pattern=pattern)
    save_picture(tmp_path / "theirs" / "combined" / "picture-1_picture-101_red-heart_0.png", 50)
    broken = tmp_path / "theirs" / "combined" / "picture-2_picture-102_red-heart_0.png"
    broken.write_bytes(b"half a pict")
    outcomes = make_images(system, ITEMS, tmp_path / "out", device="cpu")
    assert [outcome.status for outcome in outcomes] == ["made", "failed", "failed", "failed"]
    assert "not an image" in outcomes[1].reason
    assert outcomes[2].reason.endswith("theirs/subject/picture-3_none_red-heart_0.png")
    save_picture(broken, 51)
    outcomes = make_images(system, ITEMS, tmp_path / "out", device="cpu")
    assert [outcome.status for outcome in outcomes] == ["made", "made", "failed", "failed"]


def test_a_changed_file_in_the_folder_is_read_again(tmp_path: Path) -> None:
    system = FolderSystem(name="f", root=str(tmp_path / "theirs"), pattern="{id}.png")
    save_picture(tmp_path / "theirs" / "item-1.png", 50)
    make_images(system, ITEMS[:1], tmp_path / "out", device="cpu")
    save_picture(tmp_path / "theirs" / "item-1.png", 51)
    [outcome] = make_images(system, ITEMS[:1], tmp_path / "out", device="cpu")
    assert outcome.picture is not None and outcome.picture.open().tobytes() == picture(51).open().tobytes()
    (tmp_path / "theirs" / "item-1.png").unlink()
    [outcome] = make_images(system, ITEMS[:1], tmp_path / "out", device="cpu")
    assert outcome.status == "failed" and not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


@pytest.mark.parametrize("note", ["", "[]", "{}", '{"fingerprint": "x", "seconds": null}', '{"fing'])
def test_an_image_whose_note_is_damaged_is_made_again(tmp_path: Path, note: str) -> None:
    system = CopyContent(name="c")
    make_images(system, ITEMS[:1], tmp_path, device="cpu")
    (tmp_path / "c" / "combined" / "item-1.json").write_text(note)
    assert count_missing(system, ITEMS[:1], tmp_path) == 1
    assert statuses(system, ITEMS[:1], tmp_path) == ["made"] and count_missing(system, ITEMS[:1], tmp_path) == 0


@pytest.mark.parametrize("pattern", ["{contnet}.png", "image.png", "{0}.png"])
def test_a_pattern_that_names_no_item_is_refused(pattern: str) -> None:
    with pytest.raises(ConfigError, match=r"the fields are \{id\}, \{task\}"):
        parse(FolderSystem, {"name": "f", "kind": "folder", "root": ".", "pattern": pattern})


@pytest.mark.parametrize("pattern", ["{content:02d}.png", "{seed:q}.png", "{seed.png"])
def test_a_pattern_with_a_format_that_fits_no_value_is_refused(pattern: str) -> None:
    with pytest.raises(ConfigError, match="pattern: "):
        parse(FolderSystem, {"name": "f", "kind": "folder", "root": ".", "pattern": pattern})


def test_a_pattern_takes_names_as_they_are_and_pads_numbers() -> None:
    system = FolderSystem(name="f", root="theirs", pattern="{subject}/{prompt_at:02d}_{seed:03d}.png")
    named = replace(item(1), subject="backpack_dog", seed=7, prompt_at=3)
    assert system.path_of(named) == Path("theirs/backpack_dog/03_007.png")


@pytest.mark.parametrize("subject", ["/etc/x", "../x", "a/../../x"])
def test_a_name_that_leads_out_of_the_folder_is_noticed(tmp_path: Path, subject: str) -> None:
    system = FolderSystem(name="f", root=str(tmp_path), pattern="{subject}.png")
    assert not system.holds(replace(item(1), subject=subject)) and system.holds(replace(item(1), subject="a/x"))


def test_a_pattern_must_tell_items_apart() -> None:
    items = [item(1), item(1, seed=1)]
    assert clashing_items(FolderSystem(name="f", root=".", pattern="{content}.png"), items) == (items[0], items[1])
    assert clashing_items(FolderSystem(name="f", root=".", pattern="{content}_{seed}.png"), items) is None


def test_an_item_of_a_task_that_is_not_asked_for_hides_no_clash() -> None:
    system = FolderSystem(name="f", root=".", pattern="{content}.png", tasks=("combined",))
    other = replace(item(1), item_id="other", task="style")
    assert clashing_items(system, [other, *(items := [item(1), item(1, seed=1)])]) == (items[0], items[1])
    assert clashing_items(system, [other, item(1)]) is None


@pytest.fixture(scope="module")
def editor(tmp_path_factory: pytest.TempPathFactory) -> PipelineSystem:
    folder = save_instruct_pix2pix(tmp_path_factory.mktemp("editor") / "model")
    expert = DiffusersExpert(model=str(folder), images=ImageArguments(content="image", style=None), steps=2)
    return PipelineSystem(name="editor", expert=expert, batch=3)


def test_a_diffusers_pipeline_makes_images_and_its_failures_are_rows(editor: PipelineSystem, tmp_path: Path) -> None:
    """The style item has no image to edit, which this pipeline refuses; its batch mates are made all the same."""
    outcomes = make_images(editor, [ITEMS[3], *ITEMS[:3]], tmp_path, device="cpu")
    assert [outcome.status for outcome in outcomes] == ["failed", "made", "made", "made"]
    assert "`image` input cannot be undefined" in outcomes[0].reason
    assert all(outcome.picture is not None and outcome.picture.open().size == (64, 64) for outcome in outcomes[1:])
    assert outcomes[1].picture is not None and outcomes[2].picture is not None
    assert outcomes[1].picture.data != outcomes[2].picture.data
    assert count_missing(editor, ITEMS, tmp_path) == 1


def test_prompt_and_seed_reach_the_pipeline(editor: PipelineSystem, tmp_path: Path) -> None:
    variants = [item(1), item(1, prompt="blue"), item(1, seed=5)]
    bytes_of = []
    for at, each in enumerate(variants):
        [outcome] = make_images(editor, [each], tmp_path / str(at), device="cpu")
        assert outcome.picture is not None
        bytes_of.append(outcome.picture.open().tobytes())
    assert len(set(bytes_of)) == 3


@pytest.mark.parametrize(("preset", "pipeline"), [
    ("flux1-kontext", FluxKontextPipeline), ("flux2-klein", Flux2KleinPipeline)])
def test_templates_of_a_preset_are_for_items_with_a_style_image(
        preset: str, pipeline: type[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    encode = pipeline.encode_prompt

    @wraps(encode)
    def listening(self: Any, *args: Any, prompt: str, **named: Any) -> Any:
        said.append(prompt)
        return encode(self, *args, prompt=prompt, **named)

    monkeypatch.setattr(pipeline, "encode_prompt", listening)
    system = PipelineSystem(name="p", expert=expert_of(preset, PRESETS[preset](tmp_path / "model"), steps=1))
    templates = system.expert.prompts
    words = {"subject": "{prompt}", "style": templates["stylize_words"], "combined": templates["stylize"]}
    for task, template in words.items():
        said.clear()
        prompt = f"a backpack in the jungle, {task}"
        [outcome] = make_images(system, [item(1, task, prompt=prompt)], tmp_path, device="cpu")  # type: ignore[arg-type]
        assert outcome.status == "made", outcome.reason
        assert said[0] == template.format(prompt=prompt)


def test_what_was_drawn_with_a_template_that_no_longer_serves_is_made_again(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text("{}")
    plain = PipelineSystem(name="p", expert=DiffusersExpert(model=str(tmp_path)))
    in_ink = DiffusersExpert(model=str(tmp_path), prompts={"stylize": "{prompt}, in ink"})
    worded = PipelineSystem(name="p", expert=in_ink)
    subject, combined = ITEMS[2], ITEMS[0]
    drawn_so = digest(json.dumps(worded.expert.identity(), sort_keys=True), subject.fingerprint)
    assert worded.fingerprint(subject) == plain.fingerprint(subject) != drawn_so
    assert worded.fingerprint(combined) != plain.fingerprint(combined)


def test_another_setting_of_a_pipeline_is_another_image(editor: PipelineSystem, tmp_path: Path) -> None:
    make_images(editor, ITEMS[:1], tmp_path, device="cpu")
    slower = editor.model_copy(update={"expert": editor.expert.model_copy(update={"steps": 3})})
    assert count_missing(editor, ITEMS[:1], tmp_path) == 0
    assert count_missing(slower, ITEMS[:1], tmp_path) == 1


def test_a_pipeline_that_cannot_be_loaded_stops_the_bench(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    system = PipelineSystem(name="p", expert=DiffusersExpert(model=str(tmp_path / "model")))
    with pytest.raises(ModelError, match="there is no pipeline in this folder"):
        make_images(system, ITEMS, tmp_path / "out", device="cpu")


def test_progress_counts_items_that_were_there(tmp_path: Path) -> None:
    said: list[tuple[int, int | None]] = []

    def note(done: int, /, *, failed: int | None) -> None:
        said.append((done, failed))

    missing = FolderSystem(name="f", root=str(tmp_path), pattern="{id}.png", batch=1)
    save_picture(tmp_path / "item-1.png", 1)
    make_images(missing, ITEMS[:1], tmp_path / "out", device="cpu")
    make_images(missing, ITEMS[:3], tmp_path / "out", device="cpu", on_progress=note)
    assert said == [(2, 1), (3, 2)]
