"""What came out of a run: statistics (JSON and terminal tables) and a contact sheet. Reads a run, changes nothing."""

from curate.report.contact_sheet import contact_sheet
from curate.report.render import render
from curate.report.stats import REPORT, TIMINGS, collect

__all__ = ["REPORT", "TIMINGS", "collect", "contact_sheet", "render"]
