"""Checks of documentation blocks that run nothing: options of commands, files that they name, values of configs.

Files that a page has written lie in the working directory.
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer
import yaml

from curate.bench.config import BenchConfig
from curate.bench.listed import ListFile
from curate.cli import app
from curate.config import apply_overrides, load_yaml, parse
from curate.run.config import RunConfig
from curate.seal import RuleSet
from curate.train.config import TrainConfig
from filters.rubric import Rubric
from pipelines.diffusers_expert import DiffusersExpert
from tests.docs_blocks import ROOT, Block

OTHER_PROGRAMS = ("make", "cat", "source", "ray", "sbatch", "kubectl", "docker", "tensorboard", "vllm")
BASES = {RunConfig: "configs/quickstart.yaml", TrainConfig: "configs/train/compact_stage2.yaml"}
CONFIGURED: dict[str, type[Any]] = {"run": RunConfig, "plan": RunConfig, "train": TrainConfig, "bench": BenchConfig}
PLACE = re.compile(r"(?:configs|curate|filters|pipelines|deploy|benchmarks|tests|docs)/[\w./-]*\w")


def check_command(words: Sequence[str], block: Block) -> None:
    """AssertionError for a program that is not known, an option that it has not, or a value that is not accepted."""
    assert words and words[0] in ("curate", *OTHER_PROGRAMS), f"{block.where}: what is to be done with {words}?"
    if words[0] == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert set(words[1:]) <= set(targets), f"{block.where}: no target {words[1:]}"
    for word in words:
        if re.fullmatch(PLACE, word):
            assert Path(word).exists() or (ROOT / word).exists(), f"{block.where}: no file {word}"
    if "curate" in words:
        _check_curate(list(words[words.index("curate") + 1:]), block)
    elif words[0] == "sbatch":
        _check_curate(["run", *words[list(words).index("deploy/slurm.sh") + 1:]], block)


def _check_curate(words: list[str], block: Block) -> None:
    command: Any = typer.main.get_command(app)
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        assert words[0] in command.commands, f"{block.where}: no command curate {words[0]}"
        name, command = words[0], command.commands[words.pop(0)]
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            given = command.make_context(name, words).params
    except Exception as error:  # typer's own usage errors
        raise AssertionError(f"{block.where}: curate {name} {words}: {error}") from error
    overrides = given.get("overrides") or ()
    if name in CONFIGURED and given["config"] is not None and str(given["config"]) != "CONFIG":
        check_values(CONFIGURED[name], apply_overrides(_values(str(given["config"]), block), overrides), block)


def inline_commands(text: str) -> list[list[str]]:
    """The words of each `curate ...` in running text; brackets around what may be left out are dropped."""
    prose = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return [re.sub(r"[\[\]]", "", code).split() for code in re.findall(r"`(curate [^`\n]+)`", prose)]


def check_inline(words: Sequence[str], where: str) -> None:
    """AssertionError where a command that running text names does not exist, has no such option, or takes less.

    What a reader knows may be left out, and capitals may stand for values.
    """
    command: Any = typer.main.get_command(app)
    rest = [word for word in words[1:] if word != "..."]
    while hasattr(command, "commands") and rest:
        assert rest[0] in command.commands, f"{where}: no command {' '.join(words)}"
        command = command.commands[rest.pop(0)]
    options = {name: param for param in command.params for name in param.opts if name.startswith("-")}
    places = [param for param in command.params if param.param_type_name == "argument"]
    given = 0
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            given += 1
        else:
            assert word in options, f"{where}: {' '.join(words)}: no option {word}"
            if not options[word].is_flag and rest:
                rest.pop(0)
    assert given <= len(places) or any(param.nargs == -1 for param in places), f"{where}: {' '.join(words)}"


def _values(file: str, block: Block) -> dict[str, Any]:
    path = next((path for path in (Path(file), ROOT / file) if path.is_file()), None)
    assert path, f"{block.where}: no config {file} in the repository or further up on the page"
    return load_yaml(path)[0]


def check_yaml(block: Block) -> None:
    """A whole config, or a part of one over the quick start or the compact training."""
    values = yaml.safe_load(block.text)
    keys = set(values)
    if "questions" in keys:
        check_values(Rubric, values, block)
    elif "items" in keys:
        check_values(ListFile, values, block)
    elif {"bench", "systems"} <= keys:
        check_values(BenchConfig, values, block)
    elif "model" in keys:
        check_values(DiffusersExpert, values, block)
    elif keys <= {"rules", "near_duplicates"} and block.title:
        check_values(RuleSet, values, block)
    else:
        whole = RunConfig if keys <= set(RunConfig.model_fields) else TrainConfig
        if "out" in keys or "output" in keys:
            check_values(whole, values, block)
        else:
            check_values(whole, _over(whole, values), block)


def _over(whole: type[Any], values: dict[str, Any]) -> dict[str, Any]:
    base = load_yaml(ROOT / BASES[whole])[0]
    if "scorers" in values or "rules" in values:  # a rule needs its scorer, not those of the base
        base |= {"cascade": []}
        values = {**values, "scorers": {**base["scorers"], **values.get("scorers", {})},
                  "rules": values.get("rules", [])}
    if "experts" in values:
        values = {**values, "experts": {**base["experts"], **values["experts"]}}
    return {**base, **values}


def check_values(cls: type[Any], values: dict[str, Any], block: Block) -> None:
    """AssertionError where the config class refuses them."""
    try:
        parse(cls, values)
    except Exception as error:
        raise AssertionError(f"{block.where}: {error}") from error


def named_places(text: str) -> set[str]:
    """Paths of this repository that a page names in code; NAME in capitals stands for many."""
    place = re.compile(rf"(?<![\w/.-]){PLACE.pattern}")
    found = {match for code in re.findall(r"`([^`\n]+)`", text) for match in place.findall(code)}
    return {name for name in found if "NAME" not in name}


