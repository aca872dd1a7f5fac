"""``RunStore``: one run directory. Cheap to open in a worker: nothing is read until it is asked for.

run.json is written last when a directory is made and names the current plan. A plan file never changes; another config
gets another plan file, and candidates and scores are found by unit id, so units that both plans share are not redone.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from curate.errors import StoreError
from curate.files import write_json
from curate.records import Block, Failure, Unit, Work
from curate.store.attempts import Attempts
from curate.store.blocks import make_block, make_blocks
from curate.store.candidates import Candidates
from curate.store.folding import FOLD, fold
from curate.store.layout import RunPaths, sweep_temporary
from curate.store.plan import PlanFile, plan_digest, write_plan
from curate.store.scores import Scores
from curate.store.segments import SegmentFolder
from curate.store.standing import Standing

FORMAT = 2
"""Of the run directory; raised when an older reader would misread it."""


class RunStore:
    """The plan, candidates, scores and attempts of a run directory. Make it with ``create`` or ``open``."""

    def __init__(self, root: Path, run: Mapping[str, Any]) -> None:
        self.root = root
        self.paths = RunPaths(root)
        self._run = dict(run)
        self._file: PlanFile | None = None
        self._standing: Standing | None = None
        self._candidates = Candidates(self.paths)
        self._scores: dict[tuple[str, str], Scores] = {}
        self._attempts = Attempts(self.paths.attempts)

    @classmethod
    def create(cls, root: Path, info: Mapping[str, Any], units: Sequence[Unit], block_size: int) -> RunStore:
        """Make a run directory: the plan, then run.json. On a directory that holds this very plan it is ``open``.

        ``info`` is what run.json tells people and later commands (resolved config, fingerprints, versions).
        Raises StoreError when the directory holds another plan (see ``extend_plan``).
        """
        paths = RunPaths(root)
        if paths.run_json.exists():
            store = cls.open(root)
            if not store.holds(units, block_size):
                raise StoreError(f"{root}: holds another plan ({store._plan['units']} units; this config plans "
                                 f"{len(units)}); extend it with the new plan or choose another directory")
            return store
        plan = _describe("plan.parquet", write_plan(root / "plan.parquet", units, block_size), units, block_size)
        run = {"format": FORMAT, "plan": plan, "earlier_plans": [], "info": dict(info)}
        write_json(paths.run_json, run)
        return cls(root, run)

    @classmethod
    def open(cls, root: Path, *, sweep: bool = True) -> RunStore:
        """The run directory at ``root``. ``sweep`` removes temporary files of dead processes: not in workers."""
        path = RunPaths(root).run_json
        try:
            run = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise StoreError(f"{root}: not a run directory (no run.json)") from error
        except (OSError, ValueError) as error:
            raise StoreError(f"{path}: cannot be read: {error}") from error
        if not isinstance(run, dict) or run.get("format") != FORMAT:
            raise StoreError(f"{path}: not a run of format {FORMAT}; it was made by another version")
        if sweep:
            sweep_temporary(root)
        return cls(root, run)

    @property
    def info(self) -> dict[str, Any]:
        """What was given at creation or by the last ``update_info``."""
        return dict(self._run["info"])

    def update_info(self, info: Mapping[str, Any]) -> None:
        """Replace ``info`` in run.json (new rules, another engine: the plan stays)."""
        self._write_run({**self._run, "info": dict(info)})

    @property
    def _plan(self) -> dict[str, Any]:
        return dict(self._run["plan"])

    def holds(self, units: Sequence[Unit], block_size: int) -> bool:
        """Whether the current plan is exactly these units in these blocks."""
        return bool(self._plan["digest"] == plan_digest(units, block_size))

    def extend_plan(self, units: Sequence[Unit], block_size: int, *, info: Mapping[str, Any] | None = None) -> int:
        """Make ``units`` the current plan; how many of them are committed already. Nothing is deleted.

        A plan that was current before keeps its file: going back to an older config goes back to its work.
        """
        digest = plan_digest(units, block_size)
        known = [self._plan, *self._run["earlier_plans"]]
        plan = next((p for p in known if p["digest"] == digest), None)
        if plan is None:
            plan = _describe(f"plan-{digest}.parquet", digest, units, block_size)
            write_plan(self.root / plan["file"], units, block_size)
        earlier = [p for p in known if p["digest"] != digest]
        self._write_run({**self._run, "plan": plan, "earlier_plans": earlier,
                         "info": dict(self.info if info is None else info)})
        return self.standing().num_done

    def _write_run(self, run: dict[str, Any]) -> None:
        write_json(self.paths.run_json, run)
        if run["plan"] != self._run["plan"]:
            self._file = self._standing = None
        self._run = run

    @property
    def plan(self) -> PlanFile:
        """The current plan, to be read in pieces."""
        if self._file is None:
            self._file = PlanFile(self.root / self._plan["file"], self._plan["block"])
        return self._file

    def units(self) -> list[Unit]:
        """The whole plan, in order, as objects: 2 KB a unit. ``plan`` reads as much of it as is needed."""
        return self.plan.units()

    def inputs(self) -> pd.DataFrame:
        """``unit_id``, ``role``, ``source`` and ``uri`` of every input image of the current plan."""
        return self.plan.inputs()

    def blocks(self) -> list[Block]:
        """The blocks of the current plan, all as objects."""
        return make_blocks(self.units(), self._plan["block"])

    def standing(self) -> Standing:
        """What is committed of the current plan; read again when the ledger has changed."""
        segments = self._candidates.segments
        if self._standing is None or self._standing.listing != segments.look():
            self._standing = Standing(self.plan, self.paths, segments)
        return self._standing

    def fold(self, scorers: Iterable[tuple[str, str]], *, least: int = FOLD) -> None:
        """Fold the small segments of ledger and ``scorers`` (name, fingerprint) where there are ``least`` of them. For
        one process at a time: the driver."""
        fold(self._candidates.segments, least=least)
        for name, fingerprint in scorers:
            fold(self._scores_of(name, fingerprint).segments, least=least)

    def score_segments(self, scorer: str, fingerprint: str) -> SegmentFolder:
        """The rows of a scorer, to be read in pieces."""
        return self._scores_of(scorer, fingerprint).segments

    def pending_blocks(self, *, retry_failed: bool = False) -> list[Block]:
        """Blocks with work to do. A block partly committed (by an earlier plan, or unit by unit) is cut to the rest."""
        done = self.committed(include_failed=not retry_failed)
        pending = []
        for block in self.blocks():
            rest = [unit for unit in block.units if unit.unit_id not in done]
            if rest:
                pending.append(block if len(rest) == len(block.units) else make_block(block.index, rest))
        return pending

    def commit_candidates(self, work: Work, *, provenance: Mapping[str, Any] | None = None) -> None:
        """Commit a block: its tar, then its rows. Each unit must be in ``work.failures`` or have all three images.

        ``provenance`` (the experts' identities, the run's seed) goes into every row and later into every kept sample,
        so it must not name a machine, a path of this run or a time. Raises StoreError when the disk is full or the
        work is not whole; then nothing of it is committed and the same commit can be tried again.
        """
        self._candidates.commit(work, provenance=provenance or {})
        self._attempts.clear(work.block.block_id, *(unit.unit_id for unit in work.block.units), stage="candidates")

    def load_work(self, block: Block) -> Work:
        """Images and failures of a committed block. StoreError when a unit is not committed or a file is damaged."""
        return self._candidates.load(block)

    def load_images(self, unit_ids: Collection[str]) -> dict[str, dict[str, bytes]]:
        """PNG images by role of those units that were made."""
        rows = self._candidates.rows(unit_ids)
        made = [unit_id for unit_id in unit_ids if unit_id in rows and rows[unit_id]["status"] == "made"]
        return {unit_id: self._candidates.read_images(unit_id, rows[unit_id]) for unit_id in made}

    def read_images(self, unit_id: str, row: Mapping[str, Any]) -> dict[str, bytes]:
        """PNG images by role of a unit whose ledger row is at hand (``load_images`` looks the rows up)."""
        return self._candidates.read_images(unit_id, row)

    def ledger(self) -> pd.DataFrame:
        """One row a committed unit (of any plan), indexed by unit_id: status, stage, reason, sha256, seconds (JSON:
        stage -> seconds of this unit), provenance (JSON), and where its images lie."""
        return self._candidates.ledger()

    def committed(self, *, include_failed: bool = True) -> set[str]:
        """Unit ids with a ledger row, ``failed`` ones too unless told."""
        ledger = self.ledger()
        return set(ledger.index if include_failed else ledger.index[ledger["status"] == "made"])

    def commit_scores(self, scorer: str, fingerprint: str, block: Block, rows: Mapping[str, Mapping[str, float | int]],
                      failures: Mapping[str, Failure] | None = None) -> None:
        """Commit one scorer's numbers for some units of a block (a cascade may skip the others, or come back later).

        ``rows``: unit_id -> column -> float or NaN, int for hashes. A unit in ``failures`` gets the error, beside
        the numbers that it has.
        """
        self._scores_of(scorer, fingerprint).commit(block, rows, failures or {})
        self._attempts.clear(block.block_id, *rows, *(failures or {}), stage=scorer)

    def scores(self, scorer: str, fingerprint: str) -> pd.DataFrame:
        """All numbers of a scorer, indexed by unit_id: float32 columns, Int64 for hashes, ``error`` ("" if none)."""
        return self._scores_of(scorer, fingerprint).frame()

    def score_columns(self, scorer: str, fingerprint: str) -> set[str]:
        """Names of the columns that a scorer gave, from its first segments alone."""
        return self._scores_of(scorer, fingerprint).columns()

    def _scores_of(self, scorer: str, fingerprint: str) -> Scores:
        key = (scorer, fingerprint)
        if key not in self._scores:
            self._scores[key] = Scores(self.paths.scores(scorer, fingerprint))
        return self._scores[key]

    def begin_attempt(self, work_id: str, *, stage: str = "candidates") -> int:
        """Note that work on a block or unit begins (``stage``: candidates, or the scorer); which attempt it is."""
        return self._attempts.begin(work_id, stage=stage)

    def attempts(self, work_id: str, *, stage: str = "candidates") -> int:
        """How often this was begun and not committed: above 0, it died or was interrupted on the way."""
        return self._attempts.count(work_id, stage=stage)

    def clear_attempts(self, work_id: str, *, stage: str = "candidates") -> None:
        """Forget the attempts, after an interruption that was not the work's fault (Ctrl-C)."""
        self._attempts.clear(work_id, stage=stage)


def _describe(file: str, digest: str, units: Sequence[Unit], block_size: int) -> dict[str, Any]:
    """A plan's entry in run.json."""
    return {"file": file, "digest": digest, "units": len(units), "block": block_size}
