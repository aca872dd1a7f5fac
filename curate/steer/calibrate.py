"""curate calibrate: labels in, a YAML of rules out whose precision is as asked for, with a confidence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from curate.dataset import SealedFolder
from curate.errors import ConfigError
from curate.files import write_atomic
from curate.progress import count
from curate.seal import Facts, RuleConfig, changed_rules, indexed_facts
from curate.seeds import uniform
from curate.steer.bounds import interval
from curate.steer.labels import FILE, Label, last_labels, read_labels
from curate.steer.sides import Bools, Floats, Sides, inside
from curate.steer.thresholds import SEARCHING, Count, Found, find_thresholds
from curate.store import RunPaths

OUT = "calibrated.yaml"
MAX_STYLES = 12
NEARLY_ALL = 0.95
"""Share of the made triplets from which on it is worth a word that rules keep so many."""


@dataclass(frozen=True, slots=True)
class StyleCount:
    """Labelled triplets of one style that the rules keep."""

    style: str
    count: Count
    low: float
    high: float
    """Interval of the precision at the confidence."""
    faults: dict[str, int]


@dataclass(frozen=True, slots=True)
class Calibration:
    """What came of it."""

    found: Found
    rules: Sequence[RuleConfig | None]
    """Those that were given, with new thresholds; None for one that is not needed. Empty when no thresholds passed."""
    share: float
    """Of the made units that they keep."""
    now: Count
    """Labelled units that the rules of before keep."""
    now_share: float
    labels: Count
    """All labels of units that were made."""
    strangers: int
    """Labels of units that are not here or were not made."""
    unscored: int
    """Made units that some scorer has not seen, because a cascade spared it: thresholds are only tightened then."""
    styles: list[StyleCount]


def calibrate(facts: Facts, unit_ids: Sequence[str], styles: Sequence[str], labels: Sequence[Label],
              rules: Sequence[RuleConfig], *, precision: float, confidence: float) -> Calibration:
    """New thresholds for ``rules``. ConfigError when there is nothing to calibrate with.

    Units that a cascade spared a scorer broke a rule as it stands. Were that rule loosened, they would be scored and
    perhaps kept, and no label spoke for their like; so with such units no threshold gets looser than it is.
    """
    sides = Sides(rules)
    made = facts.is_made
    values = sides.values(facts.frame)
    position = {unit_id: i for i, unit_id in enumerate(unit_ids)}
    said = last_labels(labels)
    mine = [label for unit_id, label in said.items() if unit_id in position and made[position[unit_id]]]
    if not mine:
        raise ConfigError("none of the labels is of a triplet that was made here")
    at = np.array([position[label.unit_id] for label in mine])
    good = np.array([label.good for label in mine], dtype=bool)
    searching = np.array([uniform("calibrate", label.unit_id) < SEARCHING for label in mine], dtype=bool)
    population = values[made]
    floor = _floor(sides, values[made & (facts.unseen >= 0)])
    found = find_thresholds(values[at], good, searching, population, precision=precision, confidence=confidence,
                            floor=floor)
    box = sides.now if found.thresholds is None else sides.guarded(found.thresholds, population)
    within = inside(values[at], sides.now)
    return Calibration(
        found=found, rules=[] if found.thresholds is None else sides.with_thresholds(box),
        share=float(inside(population, box).mean()), now=Count(int((within & good).sum()), int(within.sum())),
        now_share=float(inside(population, sides.now).mean()), labels=Count(int(good.sum()), len(mine)),
        strangers=len(said) - len(mine), unscored=int((made & (facts.unseen >= 0)).sum()),
        styles=_by_style(mine, [styles[i] for i in at], inside(values[at], box), confidence))


def _floor(sides: Sides, unscored: Floats) -> Floats | None:
    """The rules' own thresholds where units (values (N, S)) wait for scores; None where none do."""
    if not len(unscored):
        return None
    waiting = int(inside(np.where(np.isneginf(unscored), np.inf, unscored), sides.now).sum())
    if waiting:
        raise ConfigError(f"{waiting} triplets pass the sealed rules as far as they are scored: `curate run` with "
                          "these rules in its config scores the rest, then calibrate")
    return sides.now


def _by_style(labels: Sequence[Label], styles: Sequence[str], kept: Bools, confidence: float) -> list[StyleCount]:
    """Those with bad ones among the kept, most surely bad first."""
    rows: dict[str, list[Label]] = {}
    for label, style, keep in zip(labels, styles, kept.tolist(), strict=True):
        if keep:
            rows.setdefault(style, []).append(label)
    found = []
    for style, mine in rows.items():
        good = sum(label.good for label in mine)
        faults = Counter(label.fault for label in mine if not label.good)
        found.append(StyleCount(style, Count(good, len(mine)), *interval(good, len(mine), confidence), dict(faults)))
    return sorted((one for one in found if one.faults), key=lambda one: (one.high, one.count.share, one.style))


def calibrate_run(path: Path, labels: Path | None, rules: Path | None, out: Path | None, *, precision: float,
                  confidence: float) -> int:
    """Print what the labels say and write the rules; 0 when thresholds passed, 1 when labels or scores are too poor."""
    if not 0 < precision < 1 or not 0 < confidence < 1:
        raise ConfigError("--precision and --confidence lie between 0 and 1, as 0.95")
    sealed = SealedFolder(path)
    template = changed_rules(sealed.dataset, rules).rules
    facts = indexed_facts(sealed.folder, sealed.dataset, [rule.column for rule in template])
    names = sealed.index(["unit_id", "style"])
    labels = labels or path / FILE
    made = calibrate(facts, names.column("unit_id").to_pylist(), names.column("style").to_pylist(),
                     read_labels(labels), template, precision=precision, confidence=confidence)
    _show(made, template, precision, confidence)
    if made.found.thresholds is None:
        return 1
    out = out or (path / OUT if RunPaths(path).run_json.exists() else Path(OUT))
    write_atomic(out, _yaml(made, precision, confidence).encode())
    print(f"rules in {out}; `curate whatif {path} --rules {out}` shows what they keep, `curate seal` uses them")
    return 0


def _yaml(made: Calibration, precision: float, confidence: float) -> str:
    tested = made.found.tested
    rules: list[dict[str, Any]] = [rule.model_dump(mode="json", exclude_defaults=True) for rule in made.rules if rule]
    about = [f"curate calibrate: precision {precision:g} with confidence {confidence:g}",
             f"{tested.good} of {tested.n} kept labels of the testing part are good; precision at least "
             f"{made.found.bound:.4f}", f"keeps {made.share:.1%} of what was made (before: {made.now_share:.1%})"]
    return "".join(f"# {line}\n" for line in about) + yaml.safe_dump({"rules": rules}, sort_keys=False, width=110)


def _show(made: Calibration, template: Sequence[RuleConfig], precision: float, confidence: float) -> None:
    console = Console(highlight=False)

    def say(text: str) -> None:
        console.print(text, markup=False)

    say(f"{made.labels.n} labels, {made.labels.good} good ({made.labels.share:.1%})"
        + (f"; {made.strangers} more are of triplets that are not here" if made.strangers else ""))
    if made.unscored:
        say(f"{made.unscored} made triplets lack a scorer's numbers (a cascade spared it), so thresholds are only "
            "tightened; after `curate run` with `cascade: []` they may get looser too")
    low, high = interval(made.now.good, made.now.n, confidence) if made.now.n else (0.0, 1.0)
    say(f"rules of now: keep {made.now_share:.1%}, precision {made.now.share:.1%} [{low:.1%}, {high:.1%}] on "
        f"{made.now.n} kept labels")
    if made.found.thresholds is None:
        say(_shortfall(made.found, precision, confidence))
    else:
        tested = made.found.tested
        say(f"new rules: keep {made.share:.1%}, precision {tested.share:.1%}, at least {made.found.bound:.1%} with "
            f"{100 * confidence:g}% confidence ({tested.good} of {tested.n} kept labels of the testing part)")
        console.print(_thresholds(made, template))
        for warning in _warnings(made, template, precision):
            say(warning)
    say(f"testing part: the {1 - SEARCHING:.0%} of the labels, by a hash of their ids, that no threshold was chosen on")
    if made.styles:
        say("styles with bad ones among the kept labels (* = surely below the precision):")
        console.print(_styles(made.styles, precision))


def _warnings(made: Calibration, template: Sequence[RuleConfig], precision: float) -> list[str]:
    """What the rules do that may not be meant so."""
    dropped = [rule.column for rule, new in zip(template, made.rules, strict=True) if new is None]
    told = []
    if dropped:
        told.append(f"note: {count(len(dropped), 'rule')} of {len(template)} left out ({', '.join(dropped)}): a "
                    f"precision of {precision:g} is reached without, so nothing is rejected for that any more")
    if made.share >= NEARLY_ALL:
        told.append(f"note: they keep nearly everything; {made.labels.share:.0%} of all labels are good, so a "
                    f"precision of {precision:g} asks for little: try a higher one")
    return told


def _shortfall(found: Found, precision: float, confidence: float) -> str:
    tried = f"{found.tested.good} of {found.tested.n} kept labels of the testing part are good"
    if found.more_labels is None:
        return (f"no thresholds of these columns reach a precision of {precision:g} (the surest: {tried}): more labels "
                "will not change that, other scorers, experts or a lower precision may")
    return (f"too few labels for a precision of {precision:g} with {100 * confidence:g}% confidence (the surest "
            f"thresholds: {tried}): about {found.more_labels} more are needed")


def _thresholds(made: Calibration, template: Sequence[RuleConfig]) -> Table:
    table = Table("rule", "before", "now", box=None, pad_edge=False)
    for rule, new in zip(template, made.rules, strict=True):
        table.add_row(escape(f"{rule.column}{f' [{rule.layout}]' if rule.layout else ''}"), _bounds(rule),
                      _bounds(new) if new else "not needed")
    return table


def _bounds(rule: RuleConfig) -> str:
    return rule.label.removeprefix(f"{rule.column} ").partition(" [")[0]


def _styles(styles: Sequence[StyleCount], precision: float) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("style", "good", "of", "precision"):
        table.add_column(name, justify="left" if name == "style" else "right")
    table.add_column("faults")
    for one in styles[:MAX_STYLES]:
        faults = ", ".join(f"{fault} {n}" for fault, n in sorted(one.faults.items(), key=lambda item: -item[1]))
        table.add_row(escape(one.style or "(no label)") + ("*" if one.high < precision else ""), str(one.count.good),
                      str(one.count.n), f"{one.low:.0%} to {one.high:.0%}", faults)
    return table
