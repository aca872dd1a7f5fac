"""Planning: a recipe, source items and a seed give the units of a run, before any model is loaded."""

from curate.planning.recipes import FromPairConfig, FromStylizedConfig, RecipeConfig, calls, captions_wanted
from curate.planning.units import build_units

__all__ = ["FromPairConfig", "FromStylizedConfig", "RecipeConfig", "build_units", "calls", "captions_wanted"]
