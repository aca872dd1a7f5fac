"""Lists of units: a text file with one unit id a line; blank lines and lines that begin with # are passed over."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from curate.errors import ConfigError
from curate.files import write_atomic


def read_ids(path: Path, known: Iterable[str]) -> frozenset[str]:
    """The ids in a file. ConfigError when it cannot be read or names a unit that is not ``known``."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read: {error}", file=path) from error
    ids = {line.strip(): number for number, line in enumerate(lines, 1) if line.strip() and not line.startswith("#")}
    strange = ids.keys() - set(known)
    if strange:
        first = min(strange, key=lambda one: ids[one])
        raise ConfigError(f"{first!r} is no unit here" + (f" (nor are {len(strange) - 1} others)" if strange != {first}
                                                          else ""), file=path, line=ids[first])
    return frozenset(ids)


def write_ids(path: Path, unit_ids: Sequence[str], *, about: str) -> None:
    """A line that says what they are, then the ids."""
    write_atomic(path, "".join(f"{line}\n" for line in (f"# {about}", *unit_ids)).encode())
