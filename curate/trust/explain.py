"""curate explain: everything about one triplet, and whether it comes out the same when made again."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from curate.engine import provenance_of
from curate.store import RunStore
from curate.trust.evidence import Evidence, gather
from curate.trust.regenerate import Difference, Remaker

Facts = Iterable[tuple[str, object]]
MODEL = ("model", "revision")


def explain(run: Path, which: str, *, regenerate: bool) -> int:
    """Print it; 1 when it was made again and differs."""
    store = RunStore.open(run, sweep=False)
    evidence = gather(store, which)
    console = Console(highlight=False)
    for title, facts in _sections(evidence):
        console.print(f"[bold]{title}[/bold]")
        table = Table(box=None, show_header=False, pad_edge=True)
        table.add_column(no_wrap=True, style="dim")
        table.add_column(overflow="fold")
        for name, value in facts:
            table.add_row(escape(name), escape(str(value)))
        console.print(table)
    return _make_again(store, evidence, console) if regenerate else 0


def _sections(e: Evidence) -> Iterable[tuple[str, Facts]]:
    unit = e.unit
    yield f"unit {unit.unit_id}", [
        ("place", f"number {unit.index} of the plan, block {e.block.index} ({len(e.block.units)} units)"),
        ("recipe", f"{unit.recipe}, {unit.layout} layout, {e.config.size} px"),
        ("caption", unit.caption), ("style caption", unit.style_caption), ("subject", unit.subject),
        ("style", unit.style or "(no label)"), ("side", unit.side), *_verdict(e)]
    for role, item in sorted(unit.inputs.items()):
        yield f"source: {role}", [
            ("file", item.uri or item.locator), ("from", f"sources.{item.source}"), ("sha256", item.sha256),
            ("licence", item.licence or "not stated"), ("attribution", item.attribution or "not stated"),
            ("caption", item.caption)]
    if e.written:
        yield "captioned by", [
            *((name.replace("_", " "), text) for name, text in e.written.items()),
            *_identity(e.provenance.get("captioner", {}), e.config.captioner)]
    for call in e.calls:
        yield f"made: {call.makes}", [
            ("expert", f"{call.verb}, out of {', '.join(x for x in (call.content, call.style) if x)}"),
            ("prompt", e.prompt_of(call) or "(empty)"), ("seed", e.seed_of(call)),
            ("sha256", e.image_sums.get(call.makes, "not made")),
            *_identity(e.provenance.get("experts", {}).get(call.verb, {}), e.config.experts[call.verb])]
    for name, identity in e.info.get("scorers", {}).items():
        numbers = [(column, _number(value)) for column, value in e.scores.get(name, {}).items()]
        missing = [("no numbers", e.errors.get(name, "not asked"))]
        yield f"scored: {name}", [*(numbers or missing), *_identity(identity, e.config.scorers.get(name))]
    yield "rules", [(rule.label, _margin(rule.value, rule.margin)) for rule in e.rules]
    yield "versions of the run", list(e.info.get("versions", {}).items())


def _verdict(e: Evidence) -> Facts:
    if e.ledger is None:
        yield "made", f"not yet; begun and not finished {e.attempts} times"
    elif e.ledger["status"] != "made":
        said = "failed" if e.ledger["status"] == "failed" else "turned down"
        yield "made", f"{said} at {e.ledger['stage']}: {e.ledger['reason']}"
    else:
        seconds = ", ".join(f"{stage} {s:.2f} s" for stage, s in json.loads(e.ledger["seconds"]).items())
        again = f"; begun again {e.attempts} times since" if e.attempts else ""
        yield "made", f"{seconds or 'yes'}{again}"
    if e.sealed is None:
        yield "verdict", "nothing is sealed yet"
    else:
        where = f" in {e.sealed['shard']}" if e.sealed["shard"] else ""
        why = f" ({e.sealed['stage']}: {e.sealed['reason']})" if e.sealed["reason"] else ""
        yield "verdict", f"{e.sealed['status']}{where}{why}"


def _identity(identity: Mapping[str, Any], config: object) -> Facts:
    """The model with the commit of a hub id, then all else that its output depends on. ``config`` names what the
    identity knows by its hash alone."""
    said = [str(identity.get(name) or getattr(config, name, None) or "") for name in MODEL]
    if said[0]:
        yield "model", " @ ".join(filter(None, said))
    for name, value in identity.items():
        if value not in (None, {}, [], "") and name not in MODEL:
            yield name, json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value


def _number(value: float) -> str:
    if isinstance(value, int):
        return str(value)
    return f"{value:.4f}" if math.isfinite(value) else "no number"


def _margin(value: float, margin: float) -> str:
    if math.isnan(margin):
        return "no number" if math.isnan(value) else "does not concern this layout"
    return f"{value:.4f}, {'broken' if margin < 0 else 'passed'} by {abs(margin):.4f}"


def _make_again(store: RunStore, evidence: Evidence, console: Console) -> int:
    was = evidence.provenance.get("experts", {})
    for verb in sorted(was):
        expert = evidence.config.experts.get(verb)
        differ = _changed(was[verb], expert.identity()) if expert else ["gone"]
        if differ:
            named = provenance_of(expert).get("model", verb) if expert else verb
            console.print(f"the {verb} expert is another one now ({named}; {'; '.join(differ)}): expect another "
                          "picture", markup=False)
    remaker = Remaker(store, evidence.config)
    try:
        differences = remaker.remake(evidence)
    finally:
        remaker.close()
    console.print("[bold]made again[/bold]")
    for one in differences:
        console.print(f"  {one.role}: {_said(one)}", markup=False)
    if remaker.passes(differences):
        return 0
    console.print("possible causes: other library versions or another kind of CPU than the run's, another model, or a "
                  "block of an earlier plan of this directory", markup=False)
    return 1


def _changed(was: Mapping[str, Any], identity: Mapping[str, object]) -> list[str]:
    """What differs between an expert's provenance and an identity. Name and licence stand in a provenance only
    (``provenance_of``) and say nothing of the pixels."""
    now = json.loads(json.dumps(identity))
    named = {name for name in was if name not in now and name in ("model", "licence")}
    return [f"{name}: {_short(was.get(name))} -> {_short(now.get(name))}"
            for name in sorted((was.keys() - named) | now.keys()) if was.get(name) != now.get(name)]


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:60]}..."


def _said(one: Difference) -> str:
    if one.same_bytes:
        return "the same bytes"
    return f"other bytes; pixels differ by {one.mean:.3f} on average, at most {one.largest:.0f} of 255"
