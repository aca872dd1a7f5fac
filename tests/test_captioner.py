"""Captions that the sources lack are written by a model, and reach prompts, scores and the dataset."""

from __future__ import annotations

import json
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from curate.cli import app
from curate.engine import CaptionStep, EngineConfig, ExpertStep, StopFlag, execute
from curate.engine.advance import Line
from curate.engine.isolation import Deaths, Isolation
from curate.engine.jobs import Jobs
from curate.errors import ModelError, SourceError, UnitError
from curate.images import encode
from curate.planning.subjects import names
from curate.records import OWN_SUBJECT, SUBJECT, Block, ExpertCall, Work
from curate.report.page import write_report
from curate.report.units import read_units
from curate.run.command import run_config
from curate.run.config import load_config
from curate.run.planning import make_plan
from curate.seal import verify
from curate.seal.indexed import indexed_facts
from curate.seal.judge import Judge
from curate.steer.labelling import Labelling
from curate.store import RunStore
from pipelines.captioner import Captioner, first_line
from tests.engine_parts import BlendExpert, make_steps, make_units, whole
from tests.preset_parts import picture
from tests.tiny_editors import save_captioner
from tests.tiny_pipelines import save_instruct_pix2pix


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A captioner and an editor."""
    folder = tmp_path_factory.mktemp("models")
    return save_captioner(folder / "captioner"), save_instruct_pix2pix(folder / "edit")


def captioner(models: tuple[Path, Path], **changes: Any) -> Captioner:
    return Captioner.model_validate({"model": str(models[0]), "dtype": "float32", "max_tokens": 8, **changes})


def config_file(folder: Path, models: tuple[Path, Path], **changes: Any) -> Path:
    """Two targets and three subjects without words, and one target with a caption."""
    for kind, first, count in (("input", 10, 3), ("subjects", 20, 3)):
        (folder / kind).mkdir(exist_ok=True)
        for i in range(count):
            picture(first + i).save(folder / kind / f"{i}.png")
    (folder / "input" / "0.txt").write_text("a red cat")
    expert = {"kind": "diffusers", "model": str(models[1]), "steps": 2, "images": {"content": "image", "style": None},
              "prompts": {"destylize": "a photograph of {prompt}", "stylize": "draw {prompt}"}}
    values: dict[str, Any] = {
        "output": str(folder / "run"), "size": 64, "block": 2, "val_fraction": 0.0,
        "sources": {"input": {"kind": "folder", "path": str(folder / "input"), "sidecar": "txt"},
                    "subjects": {"kind": "folder", "path": str(folder / "subjects")}},
        "recipe": {"kind": "from_stylized", "new_subject": "both"},
        "experts": {"stylize": expert, "destylize": expert},
        "captioner": {"model": str(models[0]), "dtype": "float32", "max_tokens": 8, "licence": "MIT"},
        "scorers": {"clip": {"kind": "clip", "model": "zoo:clip"}},
        "rules": [{"column": "clip.text.stylized", "min": -1.0}]}
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump({**values, **changes}))
    return path


def run(path: Path, *overrides: str) -> int:
    return run_config(path, overrides, dry_run=False, retry_failed=False)


def test_an_answer_depends_on_image_and_question_and_not_on_mates(models: tuple[Path, Path]) -> None:
    caption = captioner(models).load("cpu")
    one, other = picture(1), picture(2)
    first, second = caption([one, other])
    assert first != second and caption([one, one])[0] == first
    assert captioner(models, question="What?").load("cpu")([one])[0] != first


def test_the_first_line_counts() -> None:
    assert first_line('\n "An old  boat." \nIt lies') == "An old boat"
    with pytest.raises(UnitError):
        first_line(" \n.")


def test_captions_reach_prompts_scores_and_dataset(models: tuple[Path, Path], tmp_path: Path) -> None:
    path = config_file(tmp_path, models)
    assert run(path) == 0
    assert verify(tmp_path / "run", deep=True) == []
    store = RunStore.open(tmp_path / "run")
    samples = {}
    for tar in (tmp_path / "run" / "shards").glob("*.tar"):
        with tarfile.open(tar) as members:
            samples |= {m.name: members.extractfile(m).read() for m in members}  # type: ignore[union-attr]
    write = captioner(models).load("cpu")
    config = load_config(path)
    for unit in store.units():
        known = unit.caption
        with Image.open(tmp_path / "input" / unit.inputs["stylized"].locator) as image:
            target = image.convert("RGB")
        told = json.loads(samples[f"{unit.unit_id}.json"])
        assert told["caption"] == samples[f"{unit.unit_id}.txt"].decode() != ""
        assert told["caption"] == (known or write([target] * 2)[0])
        assert told["style_caption"] and told["style_caption"] != told["caption"]
        assert json.loads(told["provenance"])["captioner"]["licence"] == "MIT"
    assert sum(bool(unit.caption) for unit in store.units()) == 1
    before = store.scores("clip", store.info["scorers"] and _fingerprint(store, "clip"))
    text = before["clip.text.stylized"]
    assert text.nunique() == len(text)
    # a scorer that comes later reads the captions from the ledger
    assert run(path, "scorers.again.kind=clip", "scorers.again.model=zoo:clip", "scorers.again.prompt=a {}",
               "scorers={again: {kind: clip, model: 'zoo:clip'}}") == 0
    after = store.scores("again", _fingerprint(RunStore.open(tmp_path / "run"), "again"))
    assert np.allclose(after["clip.text.stylized"].reindex(text.index), text, atol=1e-6)
    assert config.captioner is not None
    check_who_looks_later(tmp_path / "run", str(models[0]))


def check_who_looks_later(run: Path, model: str) -> None:
    """Explaining, labelling and the report of an unsealed run know what the captioner wrote."""
    store = RunStore.open(run)
    [wordy] = [unit for unit in store.units() if unit.caption]
    [silent] = [unit for unit in store.units() if not unit.caption and unit.inputs["stylized"].locator == "1.png"]
    written = store.ledger().loc[silent.unit_id]
    said = explained(run, silent.unit_id)
    section = said[said.index("captioned by"):said.index("made: content")]
    assert f" caption {written['caption']} " in section and f" style caption {written['style_caption']} " in section
    assert f" model {model} " in section
    assert f"a photograph of {written['caption']}" in said and f"draw {written['style_caption']}" in said
    assert "a photograph of a red cat" in explained(run, wordy.unit_id)
    session = Labelling(run)
    shown: dict[str, dict[str, str]] = {}
    while unit := session.state()["unit"]:
        shown[unit["unit_id"]] = unit
        session.skip(unit["unit_id"])
    shutil.rmtree(run / "shards")
    frame = read_units(run).frame.set_index("unit_id")
    for unit_id, row in store.ledger().iterrows():
        caption = "a red cat" if unit_id == wordy.unit_id else row["caption"]
        for seen in (shown[str(unit_id)], frame.loc[unit_id]):
            assert (seen["caption"], seen["style_caption"]) == (caption, row["style_caption"])


def explained(run: Path, unit_id: str) -> str:
    done = CliRunner().invoke(app, ["explain", str(run), unit_id], env={"COLUMNS": "300"})
    assert done.exit_code == 0, done.output
    return " ".join(done.output.split())


def _fingerprint(store: RunStore, name: str) -> str:
    from curate.run.planning import fingerprint

    return fingerprint(store.info["scorers"][name])


def test_another_captioner_plans_only_the_units_anew_that_it_writes_for(models: tuple[Path, Path], tmp_path: Path,
                                                                        ) -> None:
    path = config_file(tmp_path, models, recipe={"kind": "from_stylized", "new_subject": "image"})
    units, changed, none = ({unit.unit_id for unit in make_plan(load_config(path, overrides)).units} for overrides in (
        (), ("captioner.question=What?",), ("captioner=null",)))
    assert len(units & changed) == len(units & none) == 1  # the one with a caption
    with pytest.raises(SourceError, match="captioner"):
        make_plan(load_config(config_file(tmp_path, models), ("captioner=null",)))


def test_what_is_no_captioner_is_refused(models: tuple[Path, Path]) -> None:
    with pytest.raises(ModelError, match="captioner"):
        Captioner(model=str(models[1])).load("cpu")


def test_a_captioner_that_lacks_a_tensor_is_refused(models: tuple[Path, Path], tmp_path: Path) -> None:
    folder = tmp_path / "partial"
    shutil.copytree(models[0], folder)
    weights = folder / "model.safetensors"
    tensors = load_file(weights)
    lost = next(name for name in tensors if name.endswith("mlp.down_proj.weight"))
    save_file({name: tensor for name, tensor in tensors.items() if name != lost}, weights, {"format": "pt"})
    with pytest.raises(ModelError, match=r"not a whole Qwen2_5_VL.*1 tensors missing .*mlp.down_proj"):
        captioner((folder, models[1])).load("cpu")


class Stammering(Captioner):
    """A captioner that has no words for dark images."""

    def load(self, device: str) -> Any:
        def write(images: Any) -> list[str]:
            if any(np.asarray(image).mean() < 9 for image in images):
                raise UnitError("too dark")
            return [f"grey {int(np.asarray(image).mean())}" for image in images]

        return write


def test_a_refusal_is_the_unit_s_failure_and_units_alone_keep_their_words(models: tuple[Path, Path]) -> None:
    units = [replace(unit, caption="") for unit in make_units(3)]
    step = CaptionStep(Stammering(model="x"), (("caption", "stylized"),))
    work = Work(Block(0, "b", tuple(units)), images={
        unit.unit_id: {"stylized": encode(Image.new("RGB", (16, 16), (shade,) * 3))}
        for unit, shade in zip(units, (0, 50, 90), strict=True)})
    done = step.open()(work)
    assert done.failures[units[0].unit_id].reason == "stylized: too dark"
    assert [done.captions.get(unit.unit_id) for unit in units] == [None, {"caption": "grey 50"}, {"caption": "grey 90"}]
    call = ExpertCall("content", "destylize", "stylized", None, "caption")
    assert ExpertStep(call, BlendExpert(), 0).request(units[1], done).prompt == "grey 50"


class Here:
    """A hand in this process."""

    def __init__(self, line: Line) -> None:
        self.positions = line.needed
        self._calls = [step.open() for step in line.steps]

    def run(self, i: int, work: Work) -> Work:
        return self._calls[i](work)

    def close(self) -> None:
        pass


def test_units_that_run_alone_have_the_captions_of_their_block(tmp_path: Path) -> None:
    units = [replace(unit, caption="") for unit in make_units(4)]
    read, destylize, stylize, tone = make_steps()
    steps = (read, CaptionStep(Stammering(model="x"), (("caption", "stylized"),)), destylize, stylize, tone)
    together, alone = (RunStore.create(tmp_path / name, {}, units, 2) for name in ("together", "alone"))
    execute(together, steps, EngineConfig())
    line = Line(alone, steps, tuple(range(len(steps))))
    jobs = list(Jobs(alone, steps))
    assert Isolation(line, EngineConfig(), lambda i: Here(line), Deaths(9)).run(jobs, StopFlag())
    assert whole(tmp_path / "together") == whole(tmp_path / "alone")
    assert alone.ledger()["caption"].str.startswith("grey").all() and alone.ledger()["caption"].nunique() > 1


def named_unit(i: int, **changes: Any) -> Any:
    return replace(make_units(4)[i], caption="", style_caption="", **changes)


class Telling(Captioner):
    """Says of dark images that they show cats, of others a boat."""

    def load(self, device: str) -> Any:
        return lambda images: ["Two cats on a sofa" if np.asarray(image).mean() < 99 else "a boat" for image in images]


def told(unit: Any, *shades: int) -> Work:
    """A block of one unit whose images (target, then new subject) have these shades, after the captioner."""
    wanted = (("caption", "stylized"), ("style_caption", "subject"))[:len(shades)]
    images = {role: encode(Image.new("RGB", (16, 16), (shade,) * 3))
              for (_, role), shade in zip(wanted, shades, strict=True)}
    step = CaptionStep(Telling(model="x"), wanted)  # type: ignore[arg-type]
    return step.open()(Work(Block(0, "b", (unit,)), images={unit.unit_id: images}))


@pytest.mark.parametrize(("drawn", "shades", "own"), [
    ({"style_subject": "cat"}, (0,), True),
    ({"style_subject": "cats"}, (0,), True),
    ({"style_subject": "cathedral"}, (0,), False),
    ({"style_subject": "boat"}, (0,), False),
    ({"style_subject": "cat", "recipe": "from_pair"}, (0,), False),
    ({}, (0, 200), False),
    ({}, (200, 201), True),
    ({"subject": "sofa"}, (200, 0), True),  # the words of the new subject's image are a sentence
    ({"subject": "boat"}, (200, 0), False),
])
def test_a_drawn_subject_that_the_caption_names_turns_the_unit_down(drawn: dict[str, Any], shades: tuple[int, ...],
                                                                    own: bool) -> None:
    unit = named_unit(0, **drawn)
    done = told(unit, *shades)
    assert done.captions[unit.unit_id]["caption"] and done.failures.get(unit.unit_id) == (OWN_SUBJECT if own else None)


def test_such_units_are_rejected_before_an_expert_works_and_are_no_failures(models: tuple[Path, Path], tmp_path: Path,
                                                                            ) -> None:
    """From plan to verify, with what the captioner really says; no share of failures is allowed."""
    said = captioner(models).load("cpu")
    path = config_file(tmp_path, models)
    with Image.open(tmp_path / "input" / "1.png") as image:
        own = said([image.convert("RGB")] * 2)[0].split()[0]
    (tmp_path / "words.txt").write_text(f"{own}\nzebra\n")
    recipe = {"kind": "from_stylized", "new_subject": "prompt", "words": str(tmp_path / "words.txt"), "per_target": 2}
    expert = {"kind": "diffusers", "model": str(models[1]), "steps": 2}
    experts = {"destylize": {**expert, "images": {"content": "image", "style": None}},
               "stylize": {**expert, "images": {"content": None, "style": "image"}}}
    path = config_file(tmp_path, models, recipe=recipe, experts=experts)
    planned = [unit.unit_id for unit in make_plan(load_config(path)).units]
    assert run(path) == 0
    store = RunStore.open(tmp_path / "run")
    units = {unit.unit_id: unit for unit in store.units()}
    ledger = store.ledger()
    assert sorted(units) == sorted(planned) == sorted(ledger.index)
    shown = {unit_id: unit.caption or ledger.loc[unit_id, "caption"] for unit_id, unit in units.items()}
    own_units = {unit_id for unit_id, unit in units.items() if names(shown[unit_id], unit.style_subject)}
    assert 0 < len(own_units) < len(units)
    assert set(ledger.index[ledger["status"] == "rejected"]) == own_units
    index = pd.read_parquet(tmp_path / "run" / "shards" / "index.parquet").set_index("unit_id")
    told_of = index.loc[sorted(own_units), ["status", "stage", "reason"]].drop_duplicates().to_numpy().tolist()
    assert told_of == [["rejected", SUBJECT, OWN_SUBJECT.reason]]
    assert f"made turned down at {SUBJECT}: {OWN_SUBJECT.reason}" in explained(tmp_path / "run", min(own_units))
    assert verify(tmp_path / "run", deep=True) == [] and not (index["status"] == "failed").any()
    table = read_units(tmp_path / "run")
    assert not table.frame.set_index("unit_id").loc[sorted(own_units), "made"].any()
    folder = tmp_path / "run" / "shards"
    dataset = json.loads((folder / "dataset.json").read_text())
    facts = indexed_facts(folder, dataset, dataset["columns"])
    rules = load_config(path).rules
    assert Judge(facts)(rules, None).table(table.frame["unit_id"])["status"].tolist() == index["status"].tolist()
    for file in folder.glob("*"):
        file.unlink()
    folder.rmdir()
    before_seal = read_units(tmp_path / "run").frame.set_index("unit_id")
    assert set(before_seal.index[before_seal["status"] == "rejected"]) == own_units
    write_report(tmp_path / "run", tmp_path / "page.html")
