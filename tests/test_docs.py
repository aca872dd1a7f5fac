"""The documentation is true: every block is run or checked, links and files are there, the site needs no network."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from curate.bench.config import BenchConfig
from curate.bench.listed import ListFile
from curate.interfaces import ROLES
from curate.item_columns import ITEM_FIELDS
from curate.run.config import RunConfig
from curate.run.pilot import PilotFigures, StageFigures
from curate.steer import labels
from curate.store import candidates, plan
from curate.train.config import TrainConfig
from docs import config_page
from tests.browser import Watched, launched, needs_chromium
from tests.docs_blocks import LANGUAGES, PAGES, ROOT, Block, blocks_of
from tests.docs_checks import check_command, check_inline, check_yaml, inline_commands, named_places
from tests.docs_runs import PageRun
from tests.drawn_run import make_run, seal_run

TREATMENTS = re.compile(r"|exit 0 or 1|own code|label|parse: .{8,}")


def ids(page: Path) -> str:
    return page.stem


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_block_is_of_a_known_kind_and_treatment(page: Path) -> None:
    for block in blocks_of(page):
        assert block.language in LANGUAGES, f"{block.where}: no test knows blocks of {block.language!r}"
        assert TREATMENTS.fullmatch(block.treatment), f"{block.where}: no such treatment: {block.treatment}"
        if block.language == "text":
            hidden = re.search(r"^ *\$? *(curate|make|ray|python) [a-z-]+", block.text, re.MULTILINE)
            assert not hidden, f"{block.where}: a command in a block that no test runs"


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_command_and_every_config_would_be_accepted(
        page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for block in blocks_of(page):
        if block.language == "python":
            compile(block.text, block.where, "exec")
        if block.title and block.language != "diff":
            Path(block.title).parent.mkdir(parents=True, exist_ok=True)
            Path(block.title).write_text(block.text)
        if block.treatment == "own code":
            continue
        if block.language == "yaml":
            check_yaml(block)
        if block.language == "shell":
            for words in block.commands:
                check_command(words, block)


def test_the_commands_of_the_readme_would_be_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my.yaml").write_text((ROOT / "configs" / "quickstart.yaml").read_text())
    blocks = blocks_of(ROOT / "README.md")
    lines = [(line, block) for block in blocks if not block.language for line in block.text.splitlines()]
    commands = [(words, block) for line, block in lines if line.startswith(("curate ", "make "))
                for words in Block("README.md", block.line, "shell", "", "", line).commands]
    assert len(commands) >= 8
    for words, block in commands:
        check_command(words, block)
    for block in blocks:
        if block.language == "yaml":
            check_yaml(block)


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=ids)
def test_every_command_that_the_text_names_exists(page: Path) -> None:
    for words in inline_commands(page.read_text()):
        check_inline(words, page.name)


def test_commands_that_do_not_exist_are_noticed() -> None:
    text = "`curate plan [CONFIG] [--pilot N]`\n```text\n`curate shred`\n```\nthen `curate report A B`, `curate ...`."
    good = inline_commands(text)
    assert good == [["curate", "plan", "CONFIG", "--pilot", "N"], ["curate", "report", "A", "B"], ["curate", "..."]]
    for words in good:
        check_inline(words, "here")
    for wrong in ("curate explane RUN", "curate zoo bild NAME", "curate diff A B --deep", "curate label RUN OTHER"):
        with pytest.raises(AssertionError, match="here: "):
            check_inline(wrong.split(), "here")


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    made = {block.title for block in blocks_of(page) if block.title}
    missing = [name for name in named_places(page.read_text()) - made if not (ROOT / name).exists()]
    assert not missing


def test_figures_are_those_of_the_log() -> None:
    log = " ".join((ROOT / "LOG.md").read_text().split())
    lines = (ROOT / "docs" / "train.md").read_text().splitlines()
    rows = [line for line in lines if line.startswith("|") and re.search(r"0\.\d{3} \[", line)]
    assert len(rows) == 6
    assert [row for row in rows if row.split("|", 2)[2].strip(" |") not in log] == []


def test_the_page_of_file_formats_names_every_field(tmp_path: Path) -> None:
    store = make_run(tmp_path / "run", num_units=8)
    seal_run(store)
    dataset = json.loads((store.paths.shards / "dataset.json").read_text())
    index = pq.read_schema(store.paths.shards / "index.parquet").names
    with tarfile.open(store.paths.shards / dataset["shards"][0]["name"]) as tar:
        sample = json.load(tar.extractfile(tar.getmembers()[4]))  # type: ignore[arg-type]
    fields = {*plan.SCHEMA.names, *ITEM_FIELDS, *candidates.SCHEMA.names, *labels.SCHEMA.names, *sample, *dataset,
              *dataset["shards"][0], *(name for name in index if name not in dataset["columns"]),
              *json.loads((store.root / "run.json").read_text()), *PilotFigures.model_fields,
              *StageFigures.model_fields}
    text = (ROOT / "docs" / "formats.md").read_text()
    roles = {f"{role}_{what}": f"<role>_{what}" for role in ROLES for what in ("sha256", "offset", "bytes")}
    assert [name for name in sorted(fields) if f"`{roles.get(name, name)}`" not in text] == []


def test_the_page_of_config_keys_has_every_field_of_every_class() -> None:
    told = re.findall(r"^### [^\n]* \{ #(\S+) \}$(.*?)(?=^##|\Z)", config_page.page(), re.MULTILINE | re.DOTALL)
    keys = {anchor.rpartition("-")[2]: set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))
            for anchor, table in told}
    for whole in (RunConfig, TrainConfig, BenchConfig, ListFile):
        schema = whole.model_json_schema()
        for each in (schema, *schema["$defs"].values()):
            if each.get("type") == "object":
                assert keys.get(each["title"].lower(), set()) == set(each["properties"]), each["title"]
    links = re.findall(r"\]\(#([^)]+)\)", config_page.page())
    assert len(links) > 40 and set(links) <= {anchor for anchor, _ in told}


def test_the_page_of_config_keys_says_what_the_code_says() -> None:
    lines = config_page.page().splitlines()
    assert any(line.startswith("| `per_target` | integer (>= 1) | `1` | Units of one target,") for line in lines)
    assert any(line.startswith("| `match_set` | `true` or `false` | `false` | Draw new subjects") for line in lines)
    assert any(line.startswith("| `pilot` | text or `null` | `null` | pilot.json of ``curate plan") for line in lines)
    assert any("[folder](#run-sources-name-foldersource), [parquet](#" in line for line in lines)
    assert any(line.startswith("| `output` | text | **required** | The run directory") for line in lines)
    assert any(line.startswith("| `num_steps` | integer (>= 1) | `25` | T, Euler steps") for line in lines)


def build(folder: Path, *, pictures: bool) -> Path:
    """The site by mkdocs in strict mode: a warning is an error (not with --quiet, which hides them from it)."""
    pytest.importorskip("mkdocs", reason="mkdocs-material is of the extra `docs`")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DOCS_PICTURES": str(pictures).lower(),
                   "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run([sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
                          cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("site"), pictures=False)


def test_the_site_builds_and_has_every_command(site: Path) -> None:
    assert "240 planned: kept" in (site / "index.html").read_text()  # from the README
    text = (site / "cli.html").read_text()
    assert all(f"curate {name}" in text for name in ("run", "seal", "zoo eval")) and "--retry-failed" in text
    assert "match_set" in (site / "config.html").read_text()


@needs_chromium
def test_pages_open_from_disk_without_network_and_can_be_searched(site: Path) -> None:
    with launched() as browser:
        for width, dark in ((1280, False), (390, True)):
            watched = Watched(browser, site / "concepts.html", width=width, dark=dark)
            wide = watched.page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width
            watched.close()
        watched = Watched(browser, site / "index.html")
        watched.page.click(".md-search__input")
        watched.page.keyboard.type("seal")
        watched.page.wait_for_selector(".md-search-result__link", state="attached", timeout=20_000)
        watched.close()


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("page", [page for page in PAGES if blocks_of(page)], ids=ids)
def test_every_block_of_a_page_runs_in_order(page: Path, tmp_path: Path) -> None:
    run = PageRun(tmp_path)
    for block in blocks_of(page):
        run.do(block)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_pictures_are_made_by_a_run_of_the_project(tmp_path: Path) -> None:
    text = (build(tmp_path / "site", pictures=True) / "concepts.html").read_text()
    assert text.count('class="holds"') >= 4 and 'class="broken"' in text
