"""The fenced blocks of a documentation page, and what a test is to do with each.

A comment above a block says it, invisibly for the reader: <!-- docs-test: TREATMENT -->

    (none)            run it, in page order, in the page's folder (a copy of the repository's root)
    exit 0 or 1       run it; either exit code is right
    own code          run it; the page has changed the code, so the project as it is does not know it
    label             run it, look at the page that it serves, stop it by Ctrl-C
    parse: REASON     it needs what a test has not (cluster, GPU, hub): commands, files and values are checked, not run
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = tuple(sorted((ROOT / "docs").glob("*.md")))
LANGUAGES = ("shell", "python", "yaml", "diff", "text")
"""`text` is what a program prints, or a drawing; all others are used by tests."""
_FENCE = re.compile(r"^ *```(\w*)(.*)$")
_TITLE = re.compile(r'title="([^"]+)"')
_SAID = re.compile(r"^ *<!-- docs-test: (.+) -->$")


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block; a `title` is the name of the file that it is, or of the file that a diff changes."""

    page: str
    line: int
    language: str
    title: str
    treatment: str
    text: str

    @property
    def where(self) -> str:
        """For messages."""
        return f"docs/{self.page}:{self.line}" if self.page != "README.md" else f"README.md:{self.line}"

    @property
    def commands(self) -> list[list[str]]:
        """The words of each command of a shell block: comments gone, continued lines joined, pipes and lists parted."""
        return [command for line in self.text.replace("\\\n", " ").splitlines() for command in _commands(line)]


def _commands(line: str) -> Iterator[list[str]]:
    words = shlex.shlex(line, posix=True, punctuation_chars=";|&<>")
    words.whitespace_split, words.commenters = True, "#"
    command: list[str] = []
    for word in words:
        if word in (";", "|", "&&", "||", "<", ">"):
            yield command
            command = []
        else:
            command.append(word)
    if command:
        yield command


def blocks_of(page: Path) -> list[Block]:
    """All blocks of a page, in order. AssertionError for a fence that is not closed."""
    blocks: list[Block] = []
    lines = page.read_text(encoding="utf-8").splitlines()
    treatment, at = "", 0
    while at < len(lines):
        fence, said = _FENCE.match(lines[at]), _SAID.match(lines[at])
        if said:
            treatment = said[1]
        elif fence:
            end = next((i for i in range(at + 1, len(lines)) if lines[i].strip() == "```"), None)
            assert end is not None, f"{page.name}:{at + 1}: this block has no end"
            indent = len(lines[at]) - len(lines[at].lstrip())
            title = _TITLE.search(fence[2])
            blocks.append(Block(page.name, at + 1, fence[1], title[1] if title else "", treatment,
                                "".join(f"{line[indent:]}\n" for line in lines[at + 1:end])))
            treatment, at = "", end
        elif lines[at].strip():
            assert not treatment, f"{page.name}:{at + 1}: docs-test: {treatment} stands above no block"
        at += 1
    return blocks
