"""Images in WebDataset tars, read by offset: a scan notes where each member lies, a worker reads just that part."""

from __future__ import annotations

import tarfile
from collections import Counter
from collections.abc import Iterator
from typing import Literal

from curate.errors import SourceError
from curate.records import SourceItem
from curate.sources.base import Source, content_hash
from curate.sources.folder import Strings
from curate.sources.labels import ColumnNames, Labels, parse_json, parse_txt
from curate.sources.locations import Location, locate, split_pattern

_ENDING = ".tar"


class WebdatasetSource(Source):
    """Samples in uncompressed tars. ``path`` may be ``s3://bucket/set-{000..127}.tar``, a glob, a file or a folder."""

    kind: Literal["webdataset"] = "webdataset"
    path: str
    images: Strings = ("png", "jpg", "jpeg", "webp")
    """Endings of the members that are images: what follows the first dot, such as ``jpg`` or ``style.jpg``."""
    captions: Strings = ("json", "txt")
    """Endings of the members with labels; the first that says something wins. ``*json`` = object, else a caption."""
    columns: ColumnNames = ColumnNames()
    licence: str = ""
    """Of the images, where nothing else names one; goes into every triplet and the data card."""
    attribution: str = ""
    """Whom to name for the images; goes where the licence goes."""

    def _read(self, locator: str) -> bytes:
        name, _, part = locator.rpartition("#")
        offset, size = (int(number) for number in part.split("+"))
        data = locate(split_pattern(self.path, _ENDING)[0]).read(name, offset, offset + size) if size else b""
        if len(data) != size:
            raise OSError(f"{name}: ends within the member at byte {offset}")
        return data

    def _entries(self, notices: list[str]) -> Iterator[SourceItem]:
        folder, patterns = split_pattern(self.path, _ENDING)
        place = locate(folder)
        shards = place.files(patterns)
        if not shards:
            raise SourceError(f"{self.path}: no tar there")
        seen: Counter[str] = Counter()
        found = False
        for shard in shards:
            for item in self._shard(place, shard, seen):
                found = True
                yield item
        if not found:
            raise SourceError(f"{self.path}: no member ends in {', '.join(self.images)} (images); there are: "
                              f"{', '.join(ending for ending, _ in seen.most_common(8)) or 'none at all'}")

    def _shard(self, place: Location, shard: str, seen: Counter[str]) -> Iterator[SourceItem]:
        uri = place.uri_of(shard)
        images: list[tuple[str, str, str, str]] = []  # key, member name, locator, sha256
        labels: dict[str, dict[str, Labels]] = {}
        try:
            # "r:" = uncompressed only: inside a compressed tar nothing can be read by offset
            with place.fs.open(place.path_of(shard), "rb") as f, tarfile.open(fileobj=f, mode="r:") as tar:
                for member in tar:
                    folder, slash, base = member.name.rpartition("/")
                    key, _, ending = base.partition(".")
                    if not member.isfile() or not key:
                        continue
                    key, ending = folder + slash + key, ending.lower()
                    seen[ending] += 1
                    if ending in self.images or ending in self.captions:
                        extracted = tar.extractfile(member)
                        data = extracted.read() if extracted else b""
                    if ending in self.images:
                        locator = f"{shard}#{member.offset_data}+{member.size}"
                        images.append((key, member.name, locator, content_hash(data)))
                    elif ending in self.captions:
                        where = f"{uri}: {member.name}"
                        labels.setdefault(key, {})[ending] = (
                            parse_json(data, self.columns, where=where) if ending.endswith("json")
                            else parse_txt(data, where=where))
                # tarfile takes a damaged header after the first for the end: samples would vanish without a word
                f.seek(tar.offset)
                if f.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                    raise tarfile.ReadError(f"no end mark at byte {tar.offset}")
        except (tarfile.TarError, OSError) as error:
            raise SourceError(f"{uri}: not a whole, uncompressed tar: {error}") from error
        defaults = Labels(licence=self.licence, attribution=self.attribution)
        for key, member_name, locator, sha256 in images:
            said = Labels()
            for ending in self.captions:
                said = said.completed_by(labels.get(key, {}).get(ending, Labels()))
            yield SourceItem("", locator, f"{uri}#{member_name}", sha256, **said.completed_by(defaults)._asdict())
