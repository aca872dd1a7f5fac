"""Sources of images: folders, parquet files, WebDataset tars, emoji. ``scan`` lists, ``read`` gives bytes anywhere.

Adding one: a file with a ``Source`` subclass whose ``kind`` is its name, and a place in ``SourceConfig``.
"""

from typing import Annotated

from pydantic import Field

from curate.sources.base import Scan, ScanReport, Source
from curate.sources.emoji import EmojiSource
from curate.sources.folder import FolderSource
from curate.sources.parquet import ParquetSource
from curate.sources.webdataset import WebdatasetSource

SourceConfig = Annotated[FolderSource | ParquetSource | WebdatasetSource | EmojiSource, Field(discriminator="kind")]

__all__ = ["EmojiSource", "FolderSource", "ParquetSource", "Scan", "ScanReport", "Source", "SourceConfig",
           "WebdatasetSource"]
