"""Runs the stages of a plan over its blocks, in this process or on Ray, with equal results. Importing it loads neither
torch nor Ray.
"""

from curate.engine.captioning import CaptionerConfig, CaptionStep
from curate.engine.config import EngineConfig
from curate.engine.driver import execute
from curate.engine.making import ExpertStep, provenance_of
from curate.engine.reading import ReadInputs
from curate.engine.reports import BlockReport, EngineReport, StageTotal
from curate.engine.scoring import ScoreStep
from curate.engine.steps import Step
from curate.stop import StopFlag

__all__ = ["BlockReport", "CaptionStep", "CaptionerConfig", "EngineConfig", "EngineReport", "ExpertStep", "ReadInputs",
           "ScoreStep", "StageTotal", "Step", "StopFlag", "execute", "provenance_of"]
