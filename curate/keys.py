"""Hashes as numbers: hex text to bytes and back by whole arrays, and 128-bit ids looked up without objects.

Ten million ids as Python strings are 0.8 GB and a dict of them as much again; as two sorted uint64 columns 160 MB.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Raw = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]

_DIGITS = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)
_NIBBLES = np.full(256, 255, dtype=np.uint8)
_NIBBLES[_DIGITS] = np.arange(16)
ID_BYTES = 16
_ID = re.compile(r"[0-9a-f]{32}")


def characters(texts: pa.Array) -> tuple[npt.NDArray[Any], Raw]:
    """Offsets (N + 1,) and UTF-8 bytes of a string column without nulls; the first offset may be above 0."""
    wide = pa.types.is_large_string(texts.type) or pa.types.is_large_binary(texts.type)
    _, offsets, data = texts.buffers()
    kind = np.dtype(np.int64 if wide else np.int32)
    if offsets is None or not len(texts):
        return np.zeros(1, dtype=kind), np.zeros(0, dtype=np.uint8)
    at = np.frombuffer(offsets, dtype=kind)[texts.offset:texts.offset + len(texts) + 1]
    return at, np.frombuffer(data, dtype=np.uint8) if data is not None else np.zeros(0, dtype=np.uint8)


def unhex(texts: pa.Array, size: int) -> Raw:
    """(N, size) bytes of N texts of 2 x ``size`` lower-case hex digits. Raises ValueError for any other text."""
    offsets, data = characters(texts)
    if np.any(np.diff(offsets) != 2 * size):
        raise ValueError(f"not {2 * size} hex digits")
    digits: Raw = _NIBBLES[data[offsets[0]:offsets[-1]]].reshape(-1, 2 * size)
    if np.any(digits == 255):
        raise ValueError("not hex digits")
    raw: Raw = (digits[:, 0::2] << np.uint8(4)) | digits[:, 1::2]
    return raw


def to_hex(raw: Raw) -> pa.Array:
    """(N, size) bytes as a string column."""
    digits = np.empty((len(raw), 2 * raw.shape[1]), dtype=np.uint8)
    digits[:, 0::2], digits[:, 1::2] = _DIGITS[raw >> 4], _DIGITS[raw & 15]
    offsets = np.arange(len(raw) + 1, dtype=np.int32) * np.int32(digits.shape[1])
    return pa.StringArray.from_buffers(len(raw), pa.py_buffer(offsets), pa.py_buffer(digits))


def id_bytes(ids: pa.Array) -> Raw:
    """(N, 16) bytes of unit or block ids: 32 hex digits as they are, anything else by its hash."""
    try:
        return unhex(ids, ID_BYTES)
    except ValueError:
        raw = b"".join(bytes.fromhex(one) if _ID.fullmatch(one) else hashlib.blake2b(
            one.encode(), digest_size=ID_BYTES).digest() for one in ids.to_pylist())
        return np.frombuffer(raw, dtype=np.uint8).reshape(-1, ID_BYTES)


def words_of(raw: Raw) -> tuple[Words, Words]:
    """(N,) high and low halves of (N, 16) bytes: comparing them compares the hex."""
    both = np.ascontiguousarray(raw).view(">u8").astype(np.uint64)
    return both[:, 0].copy(), both[:, 1].copy()


def sorting(raw: Raw) -> Ints:
    """(N,) a stable argsort of (N, 16) bytes."""
    high, low = words_of(raw)
    order: Ints = np.argsort(high, kind="stable")
    ordered = high[order]
    if np.any(ordered[1:] == ordered[:-1]):
        order = np.lexsort((low, high))
    return order


class KeyIndex:
    """Where each of N different ids stands. 20 bytes an id (24 above 2 billion)."""

    def __init__(self, raw: Raw) -> None:
        """``raw`` (N, 16)."""
        order = sorting(raw)
        high, low = words_of(raw)
        self._high, self._low = high[order], low[order]
        self._places = order.astype(np.int32 if len(order) < 2**31 else np.int64)

    def __len__(self) -> int:
        return len(self._high)

    @property
    def twice(self) -> int | None:
        """Place of an id that stands there more than once, None if none does."""
        same = np.flatnonzero((self._high[1:] == self._high[:-1]) & (self._low[1:] == self._low[:-1]))
        return int(self._places[same[0] + 1]) if len(same) else None

    def find(self, raw: Raw) -> Ints:
        """(M,) places of (M, 16) ids, -1 = not there."""
        high, low = words_of(raw)
        found = np.full(len(high), -1, dtype=np.int64)
        open_ = np.arange(len(high))
        at = np.searchsorted(self._high, high)
        while len(open_):
            inside = at < len(self._high)
            open_, at = open_[inside], at[inside]
            near = self._high[at] == high[open_]  # ids that agree in 64 bits and differ in the rest stand in a row
            open_, at = open_[near], at[near]
            same = self._low[at] == low[open_]
            found[open_[same]] = self._places[at[same]]
            open_, at = open_[~same], at[~same] + 1
        return found
