"""curate select: a list of K of the kept triplets, for ``curate seal --ids`` or ``curate export --ids``."""

from __future__ import annotations

import sys
from pathlib import Path

from curate.dataset import SealedFolder
from curate.dataset.ids import write_ids
from curate.errors import ConfigError
from curate.steer.choosing import Candidate, choose
from curate.steer.embeddings import embeddings
from curate.store import RunStore

OUT = "selected.txt"


def select(run: Path, count: int, out: Path | None, *, max_similarity: float) -> None:
    """Write the ids of ``count`` kept units, in the order in which they were chosen: a beginning of the list is a
    choice too."""
    if not -1 <= max_similarity <= 1:
        raise ConfigError("--max-similarity is a cosine, from -1 to 1")
    store = RunStore.open(run, sweep=False)
    table = SealedFolder(run).index(["unit_id", "style", "subject", "status"])
    kept = [Candidate(row["unit_id"], row["style"], " ".join(row["subject"].casefold().split()))
            for row in table.to_pylist() if row["status"] == "kept"]
    if not kept:
        raise ConfigError(f"{run}: nothing is kept, so nothing can be chosen")
    choice = choose(kept, embeddings(store, [one.unit_id for one in kept]), count, max_similarity=max_similarity)
    out = out or run / OUT
    write_ids(out, choice.unit_ids, about=f"{len(choice.unit_ids)} of {len(kept)} kept units of {run.resolve().name}")
    chosen = set(choice.unit_ids)
    styles = {one.style for one in kept if one.unit_id in chosen}
    subjects = {one.subject for one in kept if one.unit_id in chosen and one.subject}
    few = "" if len(chosen) == count else f" (asked for {count}: the others are kept by no rule or near-duplicates)"
    print(f"{len(chosen)} of {len(kept)} kept{few}: {len(styles)} styles, {len(subjects) or 'unnamed'} subjects, "
          f"{choice.duplicates} near-duplicates passed over\n{out}", file=sys.stderr)
