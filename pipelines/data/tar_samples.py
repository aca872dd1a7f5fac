"""The samples of one shard, read by webdataset, with the checks that its reader does not make.

A tar that was cut off between two members looks whole to it, and a sample without one of its members is handed out as
if nothing were missing.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
from webdataset.tariterators import base_plus_ext, group_by_keys, tar_file_expander

from curate.errors import SourceError
from pipelines.data.encoded import EncodedSample
from pipelines.data.manifest import ShardFile
from pipelines.data.streams import open_stream

Wanted = npt.NDArray[np.bool_]


def read_samples(shard: ShardFile, suffixes: Mapping[str, str], wanted: Wanted) -> Iterator[tuple[int, EncodedSample]]:
    """(index in the shard, sample) of the wanted ones, in order; only the members of ``suffixes`` are kept.

    ``wanted``: bool (shard.samples,). SourceError, naming the shard: unreadable, cut off, a member missing, or another
    number of samples than dataset.json says (known at the end of the shard).
    """
    chooser = _Chooser(wanted, set(suffixes.values()))
    yielded = 0
    try:
        with open_stream(shard.url) as stream:
            files = tar_file_expander([{"url": shard.url, "stream": stream}], select_files=chooser)
            for sample in group_by_keys(files, lcase=False):
                key = str(sample["__key__"])
                for suffix in suffixes.values():
                    if suffix not in sample:
                        raise SourceError(f"{shard.url}: sample {key}: no .{suffix} member")
                yield chooser.index[key], EncodedSample(
                    key, shard.url, {part: sample[suffix] for part, suffix in suffixes.items()})
                yielded += 1
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        # webdataset appends streams and urls to the arguments: only the first is for people
        raise SourceError(f"{shard.url}: not a whole tar: {error.args[0] if error.args else error}") from error
    if chooser.samples != shard.samples:
        raise SourceError(f"{shard.url}: has {chooser.samples} samples where dataset.json says {shard.samples}: "
                          "cut off, or not of this dataset")
    if yielded != int(wanted.sum()):
        raise SourceError(f"{shard.url}: has samples without any of the members {', '.join(suffixes.values())}")


class _Chooser:
    """Tells webdataset which members to keep, and counts the samples that pass by."""

    def __init__(self, wanted: Wanted, suffixes: set[str]) -> None:
        self.index: dict[str, int] = {}
        """Wanted key -> place in the shard."""
        self.samples = 0
        self._wanted = wanted
        self._suffixes = suffixes
        self._key: str | None = None

    def __call__(self, name: str) -> bool:
        key, suffix = base_plus_ext(name)
        if key is None:
            return False
        if key != self._key:
            self._key = key
            self.samples += 1
            if self.samples <= len(self._wanted) and self._wanted[self.samples - 1]:
                self.index[key] = self.samples - 1
        return key in self.index and suffix in self._suffixes
