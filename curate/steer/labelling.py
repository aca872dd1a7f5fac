"""A labelling session: which triplet comes next, what is shown of it, and what was said. Page and terminal share it.

The order is that of a hash of the ids over all triplets that were made, so whatever was labelled so far is a fair
sample of the run: what ``calibrate`` needs. Scores and verdicts are not shown, for a person who sees them agrees.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from curate.errors import StoreError
from curate.interfaces import ROLES
from curate.records import Unit, captioned
from curate.seeds import digest
from curate.steer.labels import FAULTS, FILE, Label, LabelFile, last_labels
from curate.store import RunStore, captions_in


class Labelling:
    """Of one run directory; safe to call from several threads."""

    def __init__(self, run: Path) -> None:
        self.store = RunStore.open(run, sweep=False)
        made = self.store.committed(include_failed=False)
        units = [unit for unit in self.store.units() if unit.unit_id in made]
        if not units:
            raise StoreError(f"{run}: no triplet is made yet; `curate run` makes them")
        self.units = {u.unit_id: u for u in sorted(units, key=lambda u: digest("label order", u.unit_id))}
        self.file = LabelFile(run / FILE)
        self._rows = self.store.ledger().loc[list(self.units)]
        self._skipped: set[str] = set()
        self._lock = threading.Lock()

    def state(self) -> dict[str, Any]:
        """What a page shows: the next unit (None at the end), the one after it, and the counts."""
        with self._lock:
            labels = last_labels(self.file.all())
            waiting = (u for u in self.units.values() if u.unit_id not in labels and u.unit_id not in self._skipped)
            unit, after = next(waiting, None), next(waiting, None)
            good = sum(label.good for unit_id, label in labels.items() if unit_id in self.units)
            done = sum(unit_id in self.units for unit_id in labels)
            return {"unit": self._shown(unit) if unit else None, "after": after.unit_id if after else None,
                    "total": len(self.units), "good": good, "bad": done - good, "skipped": len(self._skipped),
                    "faults": FAULTS}

    def label(self, unit_id: str, *, good: bool, fault: str = "") -> None:
        """Save a label. StoreError for a unit that is not here, ConfigError for a fault that there is not."""
        self._check(unit_id)
        with self._lock:
            self.file.add(Label(unit_id, good, fault))

    def skip(self, unit_id: str) -> None:
        """Pass over a unit until the next session."""
        self._check(unit_id)
        with self._lock:
            self._skipped.add(unit_id)

    def undo(self) -> None:
        """Take the last label back; its unit comes up again."""
        with self._lock:
            label = self.file.undo()
            self._skipped.discard(label.unit_id if label else "")

    def picture(self, unit_id: str, role: str) -> bytes:
        """PNG. StoreError when there is none."""
        self._check(unit_id)
        if role not in ROLES:
            raise StoreError(f"no picture is called {role!r}")
        with self._lock:
            row = self._row(unit_id)
        return self.store.read_images(unit_id, row)[role]

    def _row(self, unit_id: str) -> dict[str, Any]:
        return {str(key): value for key, value in self._rows.loc[unit_id].items()}

    def _check(self, unit_id: str) -> None:
        if unit_id not in self.units:
            raise StoreError(f"{self.store.root}: no triplet {unit_id!r} is made here")

    def _shown(self, unit: Unit) -> dict[str, str]:
        worded = captioned(unit, captions_in(self._row(unit.unit_id)))
        return {name: str(getattr(worded, name)) for name in ("unit_id", "caption", "style_caption", "layout")}
