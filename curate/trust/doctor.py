"""curate doctor: what works here, what does not, and how to mend it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from curate.trust import checks
from curate.trust.checks import Finding

MARKS = {"ok": "[green]ok     [/green]", "warning": "[yellow]warning[/yellow]", "broken": "[red]broken [/red]"}


def doctor() -> int:
    """Print the findings as they come; 1 if something is broken."""
    looks: list[Callable[[], Iterable[Finding]]] = [
        checks.python, checks.packages, checks.gpu, lambda: checks.disk(Path.cwd()), checks.zoo, checks.hub, checks.ray]
    console = Console(highlight=False)
    broken = 0
    for finding in examine(looks):
        broken += finding.state == "broken"
        console.print(f"{MARKS[finding.state]} {escape(f'{finding.name}: {finding.says}')}", soft_wrap=True)
        if finding.fix:
            console.print(f"        -> {escape(finding.fix)}", soft_wrap=True)
    return 1 if broken else 0


def examine(looks: Iterable[Callable[[], Iterable[Finding]]]) -> Iterator[Finding]:
    """All findings; a check that raises is one itself, for a doctor must not die of the patient."""
    for look in looks:
        try:
            yield from look()
        except Exception as error:
            name = getattr(look, "__name__", "check").strip("<>")
            yield Finding(name, "broken", f"cannot be examined: {type(error).__name__}: {error}",
                          "install the package again (make setup)")
