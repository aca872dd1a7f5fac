"""The score matrix: one similarity for each of the three pairs of a triplet."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL.Image import Image

from curate.interfaces import PAIRS, ROLES, TripletImages

Floats = npt.NDArray[np.float32]


def matrix_columns(prefix: str) -> tuple[str, ...]:
    """Column names ``<prefix>.<pair>`` in the order of ``PAIRS``."""
    return tuple(f"{prefix}.{pair}" for pair in PAIRS)


def role_columns(prefix: str) -> tuple[str, ...]:
    """Column names ``<prefix>.<role>`` in the order of ``ROLES``, for scorers that look at one image at a time."""
    return tuple(f"{prefix}.{role}" for role in ROLES)


def by_role(prefix: str, values: Floats) -> dict[str, Floats]:
    """Columns of ``role_columns``, (N,) each, from (3N,) in the order of ``image_list``; not finite becomes NaN."""
    known = np.where(np.isfinite(values), values, np.nan).astype(np.float32)
    return {column: known[i::3] for i, column in enumerate(role_columns(prefix))}


def pair_roles(pair: str) -> tuple[int, int]:
    """Places in ``ROLES`` of the two images of a pair."""
    first, second = (i for i, role in enumerate(ROLES) if role in pair.split("_"))
    return first, second


def image_list(units: Sequence[TripletImages]) -> list[Image]:
    """Images of N units as 3N images: content, style, stylized of the first unit, then of the next."""
    return [image for unit in units for image in (unit.content, unit.style, unit.stylized)]


def matrix_cosines(prefix: str, vectors: Floats) -> dict[str, Floats]:
    """Cosines of the three pairs, each (N,), from unit vectors (3N, D) in the order of ``image_list``.

    Vectors that are not finite give NaN: that unit could not be scored.
    """
    columns: dict[str, Floats] = {}
    for pair in PAIRS:
        first, second = pair_roles(pair)
        columns[f"{prefix}.{pair}"] = row_products(vectors[first::3], vectors[second::3])
    return columns


def row_products(first: Floats, second: Floats) -> Floats:
    """(N,) dot products of the rows of two (N, D); NaN where a row is not finite."""
    products = np.einsum("nd,nd->n", first, second)
    return np.where(np.isfinite(products), products, np.nan).astype(np.float32)


def unit_batches(units: Sequence[TripletImages], size: int) -> list[Sequence[TripletImages]]:
    """Units in order, ``size`` to a batch."""
    return [units[i : i + size] for i in range(0, len(units), size)]
