"""The summary as Markdown: a table a task, systems side by side; differences; what is missing; quoted numbers apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from curate.bench.items import TASKS
from curate.bench.summary import Summary

ARROWS = {"higher": "↑", "lower": "↓", "context": ""}


def render_markdown(summary: Summary) -> str:
    """The whole report."""
    said = (f"Means over images with 95 % intervals ({summary['interval']['method']}); ↑ higher, ↓ lower is better. "
            "(n) stands where a number is of fewer images than the task has items: numbers of other images are "
            "compared under Differences, item by item, and not here. Intervals over fewer than 10 subjects or styles "
            "are too narrow.")
    parts = [[f"# Bench: {summary['bench']}", "", said],
             *(part for task in TASKS for part in (_task_table(summary, task), _differences(summary, task))),
             _missing(summary), _metric_notes(summary), _quoted(summary)]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def _task_table(summary: Summary, task: str) -> list[str]:
    """Systems that did this task, in the order of the config."""
    rows = {name: tasks[task] for name, tasks in summary["measured"].items()
            if task in tasks and (tasks[task]["made"] or tasks[task]["failed"])}
    columns = [name for name in summary["metrics"] if any(name in row["figures"] for row in rows.values())]
    if not rows:
        return []
    return [f"## Measured: {task}", "", *_table(
        ["system", "images", *_labels(summary, columns)],
        [[name, _count(row), *(_figure(row["figures"].get(column), of=_asked(row)) for column in columns)]
         for name, row in rows.items()])]


def _labels(summary: Summary, columns: Sequence[str]) -> list[str]:
    metrics = [summary["metrics"][name] for name in columns]
    return [f"{metric['label']} {ARROWS[metric['better']]}".rstrip() for metric in metrics]


def _differences(summary: Summary, task: str) -> list[str]:
    """A row for each system and baseline; better and worse only where the interval leaves zero out."""
    found = {(each["system"], each["baseline"], each["column"]): each for each in summary["differences"]
             if each["task"] == task}
    if not found:
        return []
    columns = [name for name in summary["metrics"] if any(name == column for _, _, column in found)]
    pairs = list(dict.fromkeys((system, baseline) for system, baseline, _ in found))
    rows = [[system, baseline, *(_difference(found.get((system, baseline, column)), summary["measured"][system][task])
                                 for column in columns)] for system, baseline in pairs]
    said = ("System minus baseline over the items that both made (in `combined` one that failed counts 0), each "
            "interval by itself.")
    return [f"## Differences: {task}", "", said, "", *_table(["system", "minus", *_labels(summary, columns)], rows)]


def _difference(found: Mapping[str, Any] | None, row: Mapping[str, Any]) -> str:
    if found is None:
        return ""
    verdict = "" if found["verdict"] == "undecided" else f" {found['verdict']}"
    return _figure(found, of=_asked(row), sign="+") + verdict


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


def _asked(row: Mapping[str, Any]) -> int:
    """All items of the task, those that the system does not do among them."""
    return int(row["made"] + row["failed"] + row["skipped"])


def _count(row: Mapping[str, Any]) -> str:
    """``120``, or ``118 of 120`` with the failed and skipped ones counted."""
    missing = "".join(f", {row[status]} {status}" for status in ("failed", "skipped") if row[status])
    return f"{row['made']} of {_asked(row)}{missing}" if missing else str(row["made"])


def _figure(figure: Mapping[str, Any] | None, *, of: int, sign: str = "") -> str:
    """``0.498 [0.460, 0.531]``, and how many images it is of where these are not all ``of`` them."""
    if figure is None:
        return ""
    bounds = "" if figure["low"] is None else f" [{figure['low']:{sign}.3f}, {figure['high']:{sign}.3f}]"
    few = "" if figure["images"] == of else f" ({figure['images']})"
    return f"{figure['value']:{sign}.3f}{bounds}{few}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|').replace(chr(10), ' ') for cell in row)} |"
