"""The order of the plan: every stretch of it, the beginning above all, has its share of every style."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from curate import seeds
from curate.keys import Ints, Raw, sorting, to_hex

CHUNK = 1 << 16


def interleave(ids: Raw, styles: npt.NDArray[np.integer], names: Sequence[str], *, seed: int) -> Ints:
    """(N,) units by their relative place within their style: the first tenth of the plan has a tenth of each style.

    ``ids`` (N, 16); ``styles`` (N,) positions in ``names``. Within a style the order is a hash of the unit id, so
    targets, layouts and sides are mixed too.
    """
    order = sorting(_order_digests(ids, seed))
    ordered = styles[order]
    grouped = np.argsort(ordered, kind="stable")
    counts = np.bincount(styles, minlength=len(names))
    ranks = np.empty(len(ids), dtype=np.int64)
    ranks[grouped] = np.arange(len(ids)) - np.repeat(np.cumsum(counts) - counts, counts)
    turns = np.argsort(np.argsort([seeds.digest(seed, "style", name) for name in names]))
    placed: Ints = order[np.lexsort((turns[ordered], (ranks + 0.5) / counts[ordered]))]
    return placed


def _order_digests(ids: Raw, seed: int) -> Raw:
    """(N, 16)"""
    digest = seeds.Digests(seed, "order")
    found = np.empty_like(ids)
    for start in range(0, len(ids), CHUNK):
        part = b"".join(digest(unit_id) for unit_id in to_hex(ids[start:start + CHUNK]).to_pylist())
        found[start:start + CHUNK] = np.frombuffer(part, dtype=np.uint8).reshape(-1, ids.shape[1])
    return found
