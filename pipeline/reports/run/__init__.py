"""The report that a run leaves: report.html to look at, report.json with the same figures."""

from pipeline.reports.run.write import GALLERY, write_run_report

__all__ = ["GALLERY", "write_run_report"]
