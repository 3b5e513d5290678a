"""What happened, on one page."""

from truing.report.page import write_report

__all__ = ["write_report"]
