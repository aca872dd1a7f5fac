"""The run directory: plan, candidates, scores, attempts. Append-only; a parquet file written last is the commit.

Words: a *segment* is a small file named by a hash of the unit ids in it, so that writing it again is the same write.
``RunStore`` is the way in; nothing outside this room opens the files of a run directory (shards and report apart).
"""

from curate.store.blocks import make_block, make_blocks
from curate.store.candidates import captions_in, with_captions
from curate.store.layout import RunPaths
from curate.store.run_store import RunStore

__all__ = ["RunPaths", "RunStore", "captions_in", "make_block", "make_blocks", "with_captions"]
