"""Seal: a pure function of committed candidates, scores, rules and settings -> shards, index and data card.

Nothing here needs a model or a GPU: new thresholds take the time of encoding the kept images. ``verify`` proves what
``seal`` promises.
"""

from curate.seal.config import SealConfig
from curate.seal.counting import count_kept
from curate.seal.facts import Facts
from curate.seal.indexed import indexed_facts
from curate.seal.judge import Judge, Judged
from curate.seal.near_duplicates import NearDuplicateConfig
from curate.seal.rule_set import RuleSet, changed_rules
from curate.seal.rules import RuleConfig, Verdicts, broken_units, decide
from curate.seal.sealing import SealReport, seal
from curate.seal.verifying import Fault, verify

__all__ = ["Facts", "Fault", "Judge", "Judged", "NearDuplicateConfig", "RuleConfig", "RuleSet", "SealConfig",
           "SealReport", "Verdicts", "broken_units", "changed_rules", "count_kept", "decide", "indexed_facts", "seal",
           "verify"]
