"""A sample as it lies in its shard: bytes that nobody has decoded yet."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass

from PIL import Image

from curate.errors import SourceError


@dataclass(frozen=True, slots=True)
class EncodedSample:
    """``members``: bytes by content, style, stylized, txt, json (those that were asked for); ``shard`` is its URL."""

    key: str
    shard: str
    members: Mapping[str, bytes]

    def size(self, role: str) -> tuple[int, int]:
        """(width, height) in px from the image's header; its pixels are not touched. Raises SourceError."""
        try:
            with Image.open(io.BytesIO(self.members[role])) as image:
                return image.size
        except OSError as error:
            raise self.fault(role, "not an image") from error

    def text(self) -> str:
        """The caption. Raises SourceError."""
        try:
            return self.members["txt"].decode()
        except UnicodeDecodeError as error:
            raise self.fault("txt", error) from error

    def fault(self, member: str, reason: object) -> SourceError:
        """An error that says where the sample lies."""
        return SourceError(f"{self.shard}: sample {self.key}: {member}: {reason}")
