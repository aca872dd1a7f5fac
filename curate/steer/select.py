"""curate select: a list of K of the kept triplets, for ``curate seal --ids`` or ``curate export --ids``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from curate.dataset import SealedFolder
from curate.dataset.ids import write_ids
from curate.errors import ConfigError
from curate.progress import count as counted
from curate.steer.choosing import Candidate, Choice, choose
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
    print(_told(choice, kept, count, max_similarity), out, sep="\n", file=sys.stderr)


def _told(choice: Choice, kept: Sequence[Candidate], count: int, max_similarity: float) -> str:
    """What was chosen, and why no more."""
    chosen = [one for one in kept if one.unit_id in set(choice.unit_ids)]
    known = [counted(len({getattr(one, name) for one in chosen if getattr(one, name)}), name)
             for name in ("style", "subject")]
    lines = [f"{counted(len(chosen), 'triplet')} of the {len(kept):,} kept chosen ({', '.join(known)} by name)"]
    if choice.duplicates:
        lines.append(f"{choice.duplicates:,} passed over: more alike than {max_similarity:g} (--max-similarity) to a "
                     "chosen one, as triplets of one target are")
    if len(chosen) < count:
        lines.append(f"{count:,} were asked for, but no more are kept and unlike those")
    return "\n".join(lines)
