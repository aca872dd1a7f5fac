"""Benches that lie in a folder: USO-Bench and DreamBench.

**USO-Bench** (arXiv 2508.18966: 50 content images, 50 style images, 30 subject and 30 style prompts, 4 images a
prompt, 1 for the combined task). Its file lists were never published, so this layout is OURS:

    content/*.png|jpg|jpeg|webp    the file's stem names the subject; not looked at for style items alone
    style/*.png|jpg|jpeg|webp      the file's stem names the style; not looked at for subject items alone
    prompts.json                   {"subject": [...], "style": [...], "combined": [...]}
    subjects.json                  optional: {"stem": "words for the subject"}; without it the stem's own words

"{subject}" in a subject or combined prompt stands for the subject's words. Every content meets every subject prompt,
every style every style prompt, every content every style. Without combined prompts the prompt is empty, which USO
takes as "keep the layout".

**DreamBench** as published, github.com/google/dreambooth@e9b8c01, folder ``dataset``: 30 folders of 4 to 6 photographs
(``backpack/00.jpg``) and ``prompts_and_classes.txt`` with 30 lines ``subject_name,class`` and two lists of 25 prompts,
for objects and for live subjects (the classes dog and cat). The rare token of DreamBooth is left out, as in UNO's own
list of the bench (bytedance/UNO, datasets/dreambench_toy.json: "a backpack in the jungle"). Evaluations without
finetuning give one photograph of a subject; ``CHOSEN_PHOTOGRAPHS`` are those that Kosmos-G chose
(github.com/xichenpan/Kosmos-G, scripts/remove_dreambench_multiimg.sh; arXiv 2310.02992). UNO's list has the same one of
the backpack, the only subject of it that its toy file shows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from curate.bench.items import BenchItem, Picture, Task, slug, words_of
from curate.errors import SourceError

IMAGE_ENDINGS: Final = (".png", ".jpg", ".jpeg", ".webp")
PROMPT_FILE: Final = "prompts_and_classes.txt"
LIVE_CLASSES: Final = ("cat", "dog")
CHOSEN_PHOTOGRAPHS: Final = {
    "backpack": "02", "backpack_dog": "02", "bear_plushie": "03", "berry_bowl": "02", "can": "01", "candle": "02",
    "cat": "04", "cat2": "02", "clock": "03", "colorful_sneaker": "01", "dog": "02", "dog2": "02", "dog3": "05",
    "dog5": "00", "dog6": "02", "dog7": "01", "dog8": "04", "duck_toy": "01", "fancy_boot": "02",
    "grey_sloth_plushie": "04", "monster_toy": "04", "pink_sunglasses": "04", "poop_emoji": "00", "rc_car": "03",
    "red_cartoon": "00", "robot_toy": "00", "shiny_sneaker": "01", "teapot": "04", "vase": "02", "wolf_plushie": "04",
}
"""Subject -> name of its file without ending."""
Photograph = int | Literal["published"]
_PROMPT_LINE = re.compile(r"^'(?P<prompt>.*)'\.format\(unique_token, class_token\),?$")


@dataclass(frozen=True)
class Repeats:
    """Images made of one prompt, and of one content and style together."""

    prompt: int = 4
    combined: int = 1


def read_uso_bench(root: Path, *, repeats: Repeats, seed: int, tasks: Sequence[Task]) -> list[BenchItem]:
    """All items of a folder in our USO-Bench layout. SourceError says what is missing and where."""
    contents = list_pictures(root / "content") if {"subject", "combined"} & set(tasks) else []
    styles = list_pictures(root / "style") if {"style", "combined"} & set(tasks) else []
    prompts = _read_prompts(root / "prompts.json")
    words = _read_words(root / "subjects.json", contents)
    items: list[BenchItem] = []
    if "subject" in tasks:
        for content in contents:
            given = [text.replace("{subject}", words[content.name]) for text in prompts["subject"]]
            items += _repeat("subject", given, repeats.prompt, seed, content.name, content=content)
    if "style" in tasks:
        for style in styles:
            items += _repeat("style", prompts["style"], repeats.prompt, seed, style.name, style=style)
    if "combined" in tasks:
        for content in contents:
            given = [text.replace("{subject}", words[content.name]) for text in prompts["combined"]]
            for style in styles:
                items += _repeat("combined", given, repeats.combined, seed, content.name, content=content, style=style)
    return items


def read_dreambench(root: Path, *, repeats: Repeats, seed: int, photograph: Photograph, compare_all: bool,
                    ) -> list[BenchItem]:
    """All items of DreamBench. A subject's content image is its ``photograph``-th one in the order of names, or the one
    of ``CHOSEN_PHOTOGRAPHS``.

    ``compare_all``: subject metrics are means over all photographs of the subject (DreamBooth's protocol, arXiv
    2208.12242, section 4.1), else they look at the content image alone.
    """
    file = root / PROMPT_FILE
    if not file.is_file():
        raise SourceError(f"{file}: not there; root is the folder `dataset` of github.com/google/dreambooth")
    classes, objects, live = parse_prompts(file.read_text(encoding="utf-8"), file)
    items: list[BenchItem] = []
    for subject, noun in classes.items():
        photographs = list_pictures(root / subject)
        content = _photograph(photographs, photograph, root / subject)
        templates = live if noun in LIVE_CLASSES else objects
        prompts = [re.sub(r"\s+", " ", text.format("", noun)) for text in templates]
        compared = tuple(photographs) if compare_all else (content,)
        items += _repeat("subject", prompts, repeats.prompt, seed, subject, content=content, references=compared)
    return items


def _photograph(photographs: Sequence[Picture], which: Photograph, folder: Path) -> Picture:
    if which == "published":
        name = CHOSEN_PHOTOGRAPHS.get(folder.name)
        for picture in photographs:
            if picture.name == name:
                return picture
        raise SourceError(f"{folder}: " + (f"no photograph {name}, which published evaluations give" if name else
                          "no subject of DreamBench, so no photograph is published") + "; set bench.photograph: 0")
    if which >= len(photographs):
        raise SourceError(f"{folder}: has {len(photographs)} images, photograph is {which}; take less")
    return photographs[which]


def parse_prompts(text: str, file: Path) -> tuple[dict[str, str], list[str], list[str]]:
    """Subject -> class, prompts for objects, prompts for live subjects; {0} is the rare token, {1} the class."""
    classes: dict[str, str] = {}
    prompts: dict[str, list[str]] = {"Object Prompts": [], "Live Subject Prompts": []}
    section = ""
    for line in (raw.strip() for raw in text.splitlines()):
        found = _PROMPT_LINE.match(line)
        if line in (*prompts, "Classes"):
            section = line
        elif found and section in prompts:
            prompts[section].append(found["prompt"])
        elif section == "Classes" and line.count(",") == 1 and line != "subject_name,class":
            subject, noun = line.split(",")
            classes[subject] = noun
    if not classes or not all(prompts.values()):
        raise SourceError(f"{file}: not the file that google/dreambooth publishes: no classes, or a list of prompts is "
                          "empty")
    return classes, prompts["Object Prompts"], prompts["Live Subject Prompts"]


def list_pictures(folder: Path) -> list[Picture]:
    """The images of a folder in the order of their names; SourceError where there are none or two share a stem."""
    if not folder.is_dir():
        raise SourceError(f"{folder}: no such folder; the layout is described in curate/bench/layouts.py")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_ENDINGS)
    if not files:
        raise SourceError(f"{folder}: holds no images ({', '.join(IMAGE_ENDINGS)})")
    stems = [path.stem for path in files]
    twice = sorted({stem for stem in stems if stems.count(stem) > 1})
    if twice:
        raise SourceError(f"{folder}: more than one image is called {twice[0]!r}; names must differ without the ending")
    return [Picture(path.stem, path) for path in files]


def _repeat(task: Task, prompts: Sequence[str], times: int, seed: int, subject: str, *, content: Picture | None = None,
            style: Picture | None = None, references: tuple[Picture, ...] = ()) -> Iterator[BenchItem]:
    """One item a prompt and seed; the n-th image of a prompt has the seed ``seed + n``."""
    names = [subject, *([style.name] if style and content else [])]
    for at, prompt in enumerate(prompts):
        for number in range(times):
            yield BenchItem(
                item_id="_".join([*map(slug, names), f"p{at:02d}", f"s{seed + number}"]), task=task, prompt=prompt,
                subject=subject, content=content, style=style, seed=seed + number, prompt_at=at,
                references=references or ((content,) if content else ()))


def _read_prompts(file: Path) -> dict[str, list[str]]:
    found = _read_json(file)
    prompts = {task: found.get(task, []) for task in ("subject", "style", "combined")}
    unknown = sorted(set(found) - set(prompts))
    if unknown:
        raise SourceError(f"{file}: {unknown[0]!r} is no task; the keys are subject, style and combined")
    for task, texts in prompts.items():
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise SourceError(f"{file}: {task}: must be a list of prompts")
    return {**prompts, "combined": prompts["combined"] or [""]}


def _read_words(file: Path, contents: Sequence[Picture]) -> Mapping[str, str]:
    given = _read_json(file) if file.is_file() else {}
    return {picture.name: str(given.get(picture.name, words_of(picture.name))) for picture in contents}


def _read_json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SourceError(f"{file}: cannot be read: {error.strerror}; the layout is described in "
                          "curate/bench/layouts.py") from error
    except ValueError as error:
        raise SourceError(f"{file}: not JSON: {error}") from error
    if not isinstance(found, dict):
        raise SourceError(f"{file}: must be a JSON object")
    return found
