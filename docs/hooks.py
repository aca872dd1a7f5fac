"""What mkdocs makes while it builds: references of commands and config keys, pictures, and score matrices of a run."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parent))  # mkdocs loads this file by its path

import config_page
import pictures

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

WORK = Path("build") / "docs"
"""Run directory and pictures, kept between builds."""
PLACE = re.compile(r"<!-- matrix: (\w+) -->")
QUOTE = re.compile(r"<!-- from README: (.+) -->")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages and pictures."""
    from mkdocs.structure.files import File

    folder = Path(config.config_file_path).parent / WORK
    if config.extra["pictures"]:
        pictures.make(folder)
    else:
        folder /= "blank"
        pictures.blank(folder)
    for name in pictures.NAMES:
        files.append(File.generated(config, f"pictures/{name}", abs_src_path=str(folder / name)))
    files.append(File.generated(config, "cli.md", content=cli_page()))
    files.append(File.generated(config, "config.md", content=config_page.page()))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put the score matrices, and blocks of the README, where pages ask for them."""
    root = Path(config.config_file_path).parent
    folder = root / WORK / ("." if config.extra["pictures"] else "blank")
    readme = (root / "README.md").read_text(encoding="utf-8")
    markdown = PLACE.sub(lambda match: (folder / f"matrix-{match[1]}.md").read_text(encoding="utf-8"), markdown)
    return QUOTE.sub(lambda match: f"```text\n{block_with(match[1], readme)}```", markdown)


def block_with(words: str, text: str) -> str:
    """What stands in the fenced block with these words. ValueError where there is none."""
    for block in re.findall(r"^```\w*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        if words in block:
            return str(block)
    raise ValueError(f"no block of the README says {words!r}")


def cli_page() -> str:
    """Markdown of all commands, by typer's own generator."""
    import typer
    from typer.cli import get_docs_for_click

    from curate.cli import app

    command = typer.main.get_command(app)
    text = get_docs_for_click(obj=command, ctx=typer.Context(command, info_name="curate"), name="curate",
                              title="Command line")
    text = re.sub(r"\*\*Commands\*\*:\n\n(\* .*\n)+\n", "", text)  # shortened there, whole below
    text = text.replace("* `--help`: Show this message and exit.\n", "")
    text = re.sub(r"\*\*Options\*\*:\n\n(?!\*)", "", text)
    return text.replace("[[", "[").replace("]]", "]").replace("```console\n$ ", "```text\n")
