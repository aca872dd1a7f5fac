"""The report as one HTML file: everything that it shows is inside, so it opens from disk and asks no network."""

from curate.report.page.comparison import write_comparison
from curate.report.page.report import write_report

__all__ = ["write_comparison", "write_report"]
