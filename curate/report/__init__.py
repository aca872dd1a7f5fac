"""What came out of a run: statistics (JSON and terminal tables) and a contact sheet. Reads a run, changes nothing."""

from curate.report.contact_sheet import contact_sheet
from curate.report.render import render
from curate.report.stats import TIMINGS, collect

__all__ = ["TIMINGS", "collect", "contact_sheet", "render"]
