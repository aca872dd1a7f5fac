"""The summary as Markdown: a table a task, systems side by side; differences; what is missing; quoted numbers apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from curate.bench.items import TASKS
from curate.bench.summary import Summary

ARROWS = {"higher": "↑", "lower": "↓", "context": ""}


def render_markdown(summary: Summary) -> str:
    """The whole report."""
    said = "Means over images with 95 % intervals (percentile bootstrap over subjects); ↑ higher, ↓ lower is better."
    parts = [[f"# Bench: {summary['bench']}", "", said],
             *(_task_table(summary, task) for task in TASKS), _differences(summary), _missing(summary),
             _metric_notes(summary), _quoted(summary)]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def _task_table(summary: Summary, task: str) -> list[str]:
    """Systems that did this task, in the order of the config."""
    rows = {name: tasks[task] for name, tasks in summary["measured"].items()
            if task in tasks and (tasks[task]["made"] or tasks[task]["failed"])}
    columns = [name for name in summary["metrics"] if any(name in row["figures"] for row in rows.values())]
    if not rows:
        return []
    labels = [f"{summary['metrics'][name]['label']} {ARROWS[summary['metrics'][name]['better']]}".rstrip()
              for name in columns]
    return [f"## Measured: {task}", "", *_table(
        ["system", "images", *labels],
        [[name, _count(row), *(_figure(row["figures"].get(column)) for column in columns)]
         for name, row in rows.items()])]


def _differences(summary: Summary) -> list[str]:
    found: Sequence[Mapping[str, Any]] = summary["differences"]
    if not found:
        return []
    rows = [[each["system"], each["baseline"], _figure(each), each["verdict"]] for each in found]
    return [f"## Differences in {found[0]['column']}, item by item", "",
            *_table(["system", "minus", "difference", "verdict"], rows)]


def _missing(summary: Summary) -> list[str]:
    rows = [[system, task, reason, str(count)] for system, tasks in summary["measured"].items()
            for task, row in tasks.items() for reason, count in row["reasons"].items()]
    return ["## Items without an image", "", *_table(["system", "task", "reason", "items"], rows)] if rows else []


def _metric_notes(summary: Summary) -> list[str]:
    rows = [[metric["label"], metric["source"], metric["preprocessing"]] for metric in summary["metrics"].values()]
    return ["## What the numbers are", "", *_table(["metric", "definition and source", "preprocessing"], rows)]


def _quoted(summary: Summary) -> list[str]:
    """Other people's numbers: a table a task, columns in the order of the source."""
    quoted = summary["quoted"]
    if quoted is None:
        return []
    lines = ["## Quoted: numbers of other papers", "", f"**{quoted['note']}**"]
    for task in TASKS:
        numbers = [each for each in quoted["numbers"] if each["task"] == task]
        metrics = list(dict.fromkeys(each["metric"] for each in numbers))
        systems = list(dict.fromkeys((each["system"], each["source"]) for each in numbers))
        rows = [[f"{system} (quoted)", *(_cell(numbers, system, metric) for metric in metrics), source]
                for system, source in systems]
        if rows:
            lines += ["", f"Quoted, {task}:", "", *_table(["system", *metrics, "source"], rows)]
    return lines


def _cell(numbers: Sequence[Mapping[str, Any]], system: str, metric: str) -> str:
    found = [each["value"] for each in numbers if (each["system"], each["metric"]) == (system, metric)]
    return f"{found[0]:.3f}" if found else ""


def _count(row: Mapping[str, Any]) -> str:
    """``120``, or ``118 of 120`` with the failed ones counted."""
    made, failed = row["made"], row["failed"]
    return f"{made} of {made + failed}, {failed} failed" if failed else str(made)


def _figure(figure: Mapping[str, Any] | None) -> str:
    if figure is None:
        return ""
    bounds = "" if figure["low"] is None else f" [{figure['low']:.3f}, {figure['high']:.3f}]"
    return f"{figure['value']:.3f}{bounds}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|').replace(chr(10), ' ') for cell in row)} |"
