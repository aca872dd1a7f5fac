"""From templates and data to one HTML text: style, scripts, the plotting library and the data are all put inside."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.resources import files
from itertools import groupby
from typing import Any

import jinja2
from markdown_it import MarkdownIt
from markupsafe import Markup

from curate.progress import duration
from curate.report.render import size

YieldRow = tuple[str, Mapping[str, Any]]
MAX_ROWS = 500
"""Of a table in a page: a run may have as many styles as units."""
HEAD = 2
"""Lines of a Markdown table before its rows."""


def page(template: str, scripts: tuple[str, ...], data: Mapping[str, Any], **shown: Any) -> str:
    """The template with ``shown``; ``scripts`` (names of templates) run after it and find ``data`` as ``DATA``."""
    return _environment().get_template(template).render(
        **shown, css=_file("page.css"), theme=_file("theme.js"), library=_plotly(), data=_json(data),
        scripts=[_file(name) for name in scripts])


@cache
def _environment() -> jinja2.Environment:
    found = jinja2.Environment(loader=jinja2.PackageLoader("curate.report.page"), autoescape=True, trim_blocks=True,
                               lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    found.filters |= {"count": lambda n: f"{n:,}", "percent": percent, "duration": duration, "size": size,
                      "markdown": _markdown, "telling": telling}
    return found


def percent(share: float | None) -> str:
    """``74.2 %``; a dash where there is none."""
    return "–" if share is None else f"{share * 100:.1f} %"


def telling(rows: list[YieldRow]) -> list[YieldRow]:
    """Yield rows, the lowest yield first and those without one last; of too many half the lowest and half the most
    planned ones."""
    ordered = sorted(rows, key=lambda row: (row[1]["yield"] is None, row[1]["yield"] or 0.0, -row[1]["planned"]))
    if len(ordered) <= MAX_ROWS:
        return ordered
    lowest = ordered[:MAX_ROWS // 2]
    most = sorted(ordered[MAX_ROWS // 2:], key=lambda row: -row[1]["planned"])[:MAX_ROWS - len(lowest)]
    chosen = {name for name, _ in (*lowest, *most)}
    return [row for row in ordered if row[0] in chosen]


def _short_tables(lines: Iterable[str]) -> Iterator[str]:
    """Markdown whose tables end after ``MAX_ROWS`` rows."""
    for is_table, group in groupby(lines, key=lambda line: line.startswith("|")):
        rows = list(group)
        shown = MAX_ROWS + HEAD if is_table else len(rows)
        yield from rows[:shown]
        if len(rows) > shown:
            yield f"\n{len(rows) - shown:,} more rows are in the README.md beside the shards."


def _markdown(text: str) -> Markup:
    """HTML of a data card without its front matter; HTML in it is shown, not obeyed, and no picture is fetched."""
    if text.startswith("---\n"):
        text = text.partition("\n---\n")[2]
    text = "\n".join(_short_tables(text.splitlines()))
    return Markup(MarkdownIt("commonmark", {"html": False}).enable("table").disable("image").render(text))


def _file(name: str) -> Markup:
    return Markup((files("curate.report.page") / "templates" / name).read_text(encoding="utf-8"))


@cache
def _plotly() -> Markup:
    """plotly.js as the plotly package brings it (MIT; its licence line stands at the beginning of the text)."""
    text = (files("plotly") / "package_data" / "plotly.min.js").read_text(encoding="utf-8")
    return Markup(text.replace("</script", "<\\/script"))


def _json(value: Any) -> Markup:
    """JSON that may stand in a script element whatever the strings in it are."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))
