"""What mkdocs makes while it builds: the CLI reference from the app, pictures and score matrices from a small run."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parent))  # mkdocs loads this file by its path

import pictures

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

WORK = Path("build") / "docs"
"""Run directory and pictures, kept between builds."""
PLACE = re.compile(r"<!-- matrix: (\w+) -->")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated page and pictures."""
    from mkdocs.structure.files import File

    folder = Path(config.config_file_path).parent / WORK
    if config.extra["pictures"]:
        pictures.make(folder)
    else:
        pictures.blank(folder)
    for name in pictures.NAMES:
        files.append(File.generated(config, f"pictures/{name}", abs_src_path=str(folder / name)))
    files.append(File.generated(config, "cli.md", content=cli_page()))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put the score matrices where pages ask for them."""
    folder = Path(config.config_file_path).parent / WORK
    return PLACE.sub(lambda match: (folder / f"matrix-{match[1]}.md").read_text(encoding="utf-8"), markdown)


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
