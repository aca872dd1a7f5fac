"""What scores candidates. A scorer gives numbers and never drops anything; rules over its columns decide.

``SCORERS`` is the whole table: adding a scorer is one file, one line here and one test. Looking a scorer up
imports its small config module only; torch and the model libraries are imported by ``load``.
"""

from __future__ import annotations

import difflib
import importlib
from typing import TYPE_CHECKING

from curate.errors import ConfigError

if TYPE_CHECKING:
    from curate.config import StrictModel

SCORERS: dict[str, str] = {
    "csd": "filters.csd:CsdScorer",
    "clip": "filters.clip:ClipScorer",
    "dino": "filters.dino:DinoScorer",
    "cas": "filters.cas:CasScorer",
    "aesthetic": "filters.aesthetic:AestheticScorer",
    "nsfw": "filters.nsfw:NsfwScorer",
    "vlm": "filters.vlm:VlmScorer",
    "copy_paste": "filters.copy_paste:CopyPasteScorer",
    "colour": "filters.colour:ColourScorer",
    "phash": "filters.phash:PhashScorer",
}
"""Kind in the config -> ``module:Class`` of its frozen config class."""


def scorer_class(kind: str) -> type[StrictModel]:
    """The config class of a scorer kind."""
    if kind not in SCORERS:
        near = difflib.get_close_matches(kind, SCORERS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(
            f"no scorer of kind {kind!r}{hint} (there are: {', '.join(SCORERS)})", key="scorers"
        )
    module, _, name = SCORERS[kind].partition(":")
    found: type[StrictModel] = getattr(importlib.import_module(module), name)
    return found
